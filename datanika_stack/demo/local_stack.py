"""Starts and stops what the demo runs on: the stack, as a process, and the source database.

It must not know the stack's insides beyond the commands `up`, `status` and `down`; the source is a
cluster of its own, because to the product it is somebody else's database.
"""

import hashlib
import hmac
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import psycopg

from datanika_stack.demo import airline
from datanika_stack.demo.journey import DemoFailedError, Person
from datanika_stack.layout import Home, Ports
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.secrets import Secrets, load_or_generate
from datanika_stack.settings import StackSettings

LOOPBACK = "127.0.0.1/32"
"""The demo's source is on this machine, which connections may not reach unless it is allowed."""

_COMMAND = [sys.executable, "-m", "datanika_stack.cli.main"]
_START_TIMEOUT_SECONDS = 180
_STOP_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class LocalStack:
    """The demo's processes in one home.

    Attributes:
        home: The directory of the stack.
        ports: The stack's ports; the source database has the one after them.
        secrets: What opens them.
    """

    home: Home
    ports: Ports
    secrets: Secrets

    @classmethod
    def at(cls, home: Home, port: int) -> "LocalStack":
        """Returns the stack of `home`; its secrets are made where it is new.

        Raises:
            StackError: The home's secrets cannot be used.
        """
        return cls(home, Ports(port), load_or_generate(home))

    def start(self) -> dict[str, Any]:
        """Starts the stack (or finds it running) and returns `datanika status --json`.

        Raises:
            DemoFailedError: It did not start; the message is the command's.
        """
        networks = ",".join(filter(None, [StackSettings().allowed_networks, LOOPBACK]))
        # env(1) adds the variable to what the stack inherits anyway.
        allow = ["env", f"DATANIKA_ALLOWED_NETWORKS={networks}"]
        options = ["--detach", "--port", str(self.ports.base)]
        self._command([*allow, *_COMMAND, "up", *options], _START_TIMEOUT_SECONDS)
        return json.loads(self._command([*_COMMAND, "status", "--json"], _STOP_TIMEOUT_SECONDS))

    def stop(self) -> None:
        """Stops the stack and the source database; does nothing where they do not run.

        Raises:
            DemoFailedError: The stack did not stop.
        """
        try:
            self._command([*_COMMAND, "down"], _STOP_TIMEOUT_SECONDS)
        finally:
            self.source().stop()

    def fill_source(self) -> dict[str, int]:
        """Starts the source database and fills it; returns rows per table.

        Raises:
            StackError: The cluster did not start.
            DataSetMissingError: The data set is not installed.
            psycopg.Error: The server refused something.
        """
        source = self.source()
        source.start()
        with psycopg.connect(source.dsn(), autocommit=True) as connection:
            found = connection.execute(
                "select 1 from pg_database where datname = %s", [airline.DATABASE]
            ).fetchone()
            if not found:
                connection.execute(f"create database {airline.DATABASE}")
        return airline.fill(source.dsn(airline.DATABASE), reader_password=self.reader_password())

    def source(self) -> EmbeddedPostgres:
        """Returns the source cluster."""
        return EmbeddedPostgres(
            self.home.path / "source",
            self.source_port,
            self.home.runtime_dir / "source",
            self.secrets.source_password,
            log_file=self.home.logs_dir / "source.log",
        )

    @property
    def source_port(self) -> int:
        """TCP port of the source cluster."""
        return self.ports.base + 3

    def source_url(self) -> str:
        """Returns the read-only libpq URL of the source database."""
        return self.source().dsn(airline.DATABASE, airline.READER, self.reader_password())

    def reader_password(self) -> str:
        """Returns the password of the source's read-only role."""
        return self._derived("airline reader")

    def owner_password(self) -> str:
        """Returns the demo owner's password; the same each time on one home."""
        return self._derived("demo owner")

    def operator(self) -> Person:
        """Returns the platform operator that the stack made on its first start."""
        settings = StackSettings()
        given = settings.operator_password
        password = given.get_secret_value() if given else self.secrets.operator_password
        return Person(settings.operator_email, password)

    def _derived(self, purpose: str) -> str:
        """Returns a password that only this home's secrets give."""
        key = self.secrets.source_password.encode()
        return hmac.new(key, purpose.encode(), hashlib.sha256).hexdigest()[:24]

    def _command(self, arguments: list[str], timeout_seconds: int) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - own arguments
                [*arguments, "--home", str(self.home.path)],
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailedError(
                f"`datanika {arguments[-1]}` has not ended within {timeout_seconds} s."
            ) from None
        if done.returncode != 0:
            raise DemoFailedError(done.stderr.strip() or done.stdout.strip())
        return done.stdout
