"""Makes and drops each org's logins in Dagster's database, with a role that may make roles.

An org has one login for its runs and one for its code server (`datanika_dagster/run_logins.py`); what
they may do is their groups' (`datanika_dagster/row_security/`). Every step can be repeated, and is in
each process that keeps code servers: another key gives other passwords.
"""

import contextlib
import json
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import URL

from datanika_dagster.row_security.statements import READERS, RUNS
from datanika_dagster.run_logins import password_of, reader_login, run_login
from datanika_stack.endpoints import dsn_of
from datanika_stack.errors import TROUBLE_OF_ONE, StackError

_LOGGER: Final = logging.getLogger(__name__)
_TIMEOUT_SECONDS: Final = 10
_LONGEST_ANSWER_BYTES: Final = 4096


class Org(Protocol):
    """Whose logins are made."""

    @property
    def org_id(self) -> int:
        """Its number."""
        ...

    @property
    def org(self) -> str:
        """Its slug."""
        ...


AnyOrg = TypeVar("AnyOrg", bound=Org)


@dataclass(frozen=True)
class _Kind:
    group: str
    connections: int
    statement_timeout: str


# A run holds a connection for each of Dagster's three storages, and at most four runs of an org go
# at once; those that watch events take one more each. A code server opens one for each question.
_RUN: Final = _Kind(RUNS, 40, "10min")
_READER: Final = _Kind(READERS, 10, "1min")


class LoginsUnavailableError(StackError):
    """An org's logins could not be made; the message says why."""


class DagsterLogins:
    """The orgs' logins of one Dagster database.

    Args:
        provisioner: The server, with a role that has CREATEROLE and was given the groups.
        dagster: Dagster's storage; its login, if any, is not used.
        key: `DATANIKA_DAGSTER_LOGIN_KEY`.
    """

    def __init__(self, provisioner: URL, dagster: URL, key: str) -> None:
        # The same server: a role of one is none on another.
        self._dsn = dsn_of(provisioner, dagster.database)
        self._key = key

    def ensure(self, org: Org) -> None:
        """Makes what is missing of an org's logins, and sets their passwords and limits.

        Raises:
            LoginsUnavailableError: The server does not answer or refuses.
        """
        with self._connect("made") as connection:
            self._ensure_one(connection, org)

    def drop(self, org_id: int) -> None:
        """Removes the logins of an org that is gone for good.

        Raises:
            LoginsUnavailableError: The server does not answer or refuses.
        """
        with self._connect("dropped") as connection:
            connection.execute("SELECT datanika.forget_logins(%s)", [org_id])
            for login in (run_login(org_id), reader_login(org_id)):
                # Nothing belongs to it: it may create nothing anywhere.
                _run(connection, "DROP ROLE IF EXISTS {}", login)

    @contextlib.contextmanager
    def _connect(self, done: str) -> Iterator[psycopg.Connection]:
        try:
            with psycopg.connect(
                self._dsn, autocommit=True, connect_timeout=_TIMEOUT_SECONDS
            ) as connection:
                yield connection
        except psycopg.Error as error:
            # The server's own words name roles at most: no statement of ours holds a password.
            message = f"Dagster logins could not be {done}: {str(error).strip()}"
            raise LoginsUnavailableError(message) from None

    def _ensure_one(self, connection: psycopg.Connection, org: Org) -> None:
        connection.execute("SELECT datanika.register_logins(%s, %s)", [org.org_id, org.org])
        for login, kind in ((run_login(org.org_id), _RUN), (reader_login(org.org_id), _READER)):
            known = "SELECT 1 FROM pg_roles WHERE rolname = %s"
            if connection.execute(known, [login]).fetchone() is None:
                _run(connection, "CREATE ROLE {} NOLOGIN NOCREATEROLE", login)
            _limit(connection, login, kind)
            _run(connection, "GRANT {} TO {}", kind.group, login)
            self._open(connection, login)

    def _open(self, connection: psycopg.Connection, login: str) -> None:
        """Sets the password by the verifier that the server stores: no statement holds it."""
        password = password_of(login, self._key)
        verifier = connection.pgconn.encrypt_password(
            password.encode(), login.encode(), b"scram-sha-256"
        )
        statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(login), sql.Literal(verifier.decode())))


class RemoteLogins:
    """The same, asked for on the provisioner's socket by a process that may make no roles.

    Args:
        socket_path: `DATANIKA_LOGINS_SOCKET`.
    """

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    def ensure(self, org: Org) -> None:
        """Has an org's logins made.

        Raises:
            LoginsUnavailableError: Nobody answers, or the answer is no.
        """
        request = {"op": "ensure_logins", "org_id": org.org_id, "org": org.org}
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_TIMEOUT_SECONDS)
                connection.connect(str(self._socket_path))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer: Any = json.loads(answers.readline(_LONGEST_ANSWER_BYTES))
        except (OSError, ValueError) as error:
            raise LoginsUnavailableError(f"no logins from {self._socket_path}: {error}") from None
        if not isinstance(answer, dict):
            raise LoginsUnavailableError(f"no answer from {self._socket_path}, but {answer!r}")
        if not answer.get("ok"):
            raise LoginsUnavailableError(str(answer.get("error")))


class ReadyOrgs:
    """Holds back an org until its logins are there; each is made once for as long as the org is there.

    Those of an org that is deleted go after a while, so one that comes back has them made again.

    Args:
        logins: Makes them.
    """

    def __init__(self, logins: DagsterLogins | RemoteLogins) -> None:
        self._logins = logins
        self._made: set[tuple[int, str]] = set()
        self._failures: dict[int, str] = {}

    def of(self, orgs: Sequence[AnyOrg]) -> list[AnyOrg]:
        """Returns those whose logins are there, after trying to make what is missing.

        Args:
            orgs: All that are neither suspended nor deleted.
        """
        self._made &= {(org.org_id, org.org) for org in orgs}
        return [org for org in orgs if self._is_ready(org)]

    def _is_ready(self, org: Org) -> bool:
        if (org.org_id, org.org) in self._made:
            return True
        try:
            self._logins.ensure(org)
        except TROUBLE_OF_ONE as error:
            if self._failures.get(org.org_id) != str(error):
                _LOGGER.warning("%s waits: %s", org.org, error)
            self._failures[org.org_id] = str(error)
            return False
        self._made.add((org.org_id, org.org))
        return True


def _limit(connection: psycopg.Connection, login: str, kind: _Kind) -> None:
    _run(connection, "ALTER ROLE {} RESET ALL", login)
    _run(connection, f"ALTER ROLE {{}} CONNECTION LIMIT {kind.connections}", login)
    settings = {
        "statement_timeout": kind.statement_timeout,
        "idle_in_transaction_session_timeout": "1min",
        "temp_file_limit": "1GB",
        "timezone": "UTC",
    }
    if kind is _READER:
        settings["default_transaction_read_only"] = "on"
    for name, value in settings.items():
        _run(connection, f"ALTER ROLE {{}} SET {name} = '{value}'", login)


def _run(connection: psycopg.Connection, statement: str, *names: str) -> None:
    """Executes a statement whose `{}` are identifiers."""
    text = sql.SQL(statement)  # pyright: ignore[reportArgumentType] - constants of this module
    connection.execute(text.format(*map(sql.Identifier, names)))
