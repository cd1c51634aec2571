"""Starts and stops what the demo runs on: the stack, as a process, and the source database.

It must not know the stack's insides beyond the commands `up`, `status` and `down`; the source is a
cluster of its own, because to the product it is somebody else's database.
"""

import hashlib
import hmac
import subprocess
from dataclasses import dataclass, field

import psycopg

from datanika_stack import control
from datanika_stack.base_environment import PYTHON
from datanika_stack.clusters import source_cluster
from datanika_stack.demo import airline
from datanika_stack.demo.journey import DemoFailedError, Person
from datanika_stack.layout import Home, Ports
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.secrets import Secrets, load_or_generate
from datanika_stack.settings import StackSettings

LOOPBACK = "127.0.0.1/32"
"""The demo's source is on this machine, which connections may not reach unless it is allowed."""

_START_TIMEOUT_SECONDS = 240


@dataclass(frozen=True)
class Addresses:
    """Where a running stack is reached."""

    api_url: str
    dagster_url: str


@dataclass
class LocalStack:
    """The demo's processes in one home.

    Attributes:
        home: The directory of the stack.
        ports: The stack's ports; one of them is the source database's.
        secrets: What opens them.
        is_ours: Whether this demo has started the stack, and therefore stops it.
    """

    home: Home
    ports: Ports
    secrets: Secrets = field(repr=False)
    is_ours: bool = False

    @classmethod
    def at(cls, home: Home, port: int | None) -> "LocalStack":
        """Returns the stack of `home`; its secrets are made where it is new.

        Args:
            home: The directory of the stack.
            port: Base port; None stands for the one that this home had before.

        Raises:
            StackError: The home's secrets cannot be used.
        """
        return cls(home, Ports(control.port_of(home, port)), load_or_generate(home))

    def start(self) -> Addresses:
        """Starts the stack unless it runs already, and returns where it is.

        Raises:
            DemoFailedError: It did not start, or is sealed; the message says what to do.
        """
        self.is_ours = self.is_ours or control.status_of(self.home).state == "stopped"
        if self.is_ours:
            self._up()
        status = control.status_of(self.home)
        if not status.api_url or not status.dagster_url:
            raise DemoFailedError(f"The stack in {self.home.path} is {status.state}.")
        if status.hint:
            raise DemoFailedError(f"The stack in {self.home.path} is {status.hint}.")
        return Addresses(status.api_url, status.dagster_url)

    def stop(self) -> None:
        """Stops what this demo has started: the stack, and with it the source database.

        Raises:
            StackError: Something could not be stopped.
        """
        if not self.is_ours:
            return
        control.stop(self.home)
        self.source().stop()

    def start_source(self) -> None:
        """Starts the source database; the stack adopts it and looks after it from then on.

        Raises:
            StackError: The cluster did not start.
        """
        self.source().start()

    def fill_source(self) -> dict[str, int]:
        """Fills the source database, which runs; returns rows per table.

        Raises:
            DataSetMissingError: The data set is not installed.
            psycopg.Error: The server refused something.
        """
        source = self.source()
        with psycopg.connect(source.dsn(), autocommit=True) as connection:
            found = connection.execute(
                "select 1 from pg_database where datname = %s", [airline.DATABASE]
            ).fetchone()
            if not found:
                connection.execute(f"create database {airline.DATABASE}")
        return airline.fill(source.dsn(airline.DATABASE), reader_password=self.reader_password())

    def source(self) -> EmbeddedPostgres:
        """Returns the source cluster."""
        return source_cluster(self.home, self.ports, self.secrets)

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

    def _up(self) -> None:
        networks = ",".join(filter(None, [StackSettings().allowed_networks, LOOPBACK]))
        # env(1) adds the variable to what the stack inherits anyway.
        environment = ["env", f"DATANIKA_ALLOWED_NETWORKS={networks}"]
        options = ["--detach", "--home", str(self.home.path), "--port", str(self.ports.base)]
        try:
            done = subprocess.run(  # noqa: S603 - own arguments
                [*environment, *PYTHON, "datanika_stack.cli.main", "up", *options],
                capture_output=True,
                text=True,
                timeout=_START_TIMEOUT_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailedError("`datanika up` has not ended in time.") from None
        if done.returncode != 0:
            # Before its error it tells what it was doing.
            said = f"\n{done.stderr.strip()}"
            raise DemoFailedError(said[max(said.rfind("\nerror: "), 0) :].strip())
