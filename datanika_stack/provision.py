"""Makes one database and its roles per org, with the rights of a role that may make both.

The warehouse of an org is a database that only its own roles can enter: `w_x` loads and transforms,
`w_x_ro` reads for previews and sensors, `w_x_bi` is a login for people. Names are opaque, since every
session can read the lists of databases and roles. Each step can be repeated. It must not know the
control plane's tables: an org is a number here.
"""

import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import URL

from datanika_stack.databases import WAREHOUSE_TEMPLATE, WAREHOUSE_WRITERS
from datanika_stack.endpoints import dsn_of

_TIMEOUT_SECONDS: Final = 10
_WRITER_CONNECTIONS: Final = 20
_READER_CONNECTIONS: Final = 10
# Work files of sorts and joins, per process. Only this limit cannot be lifted by the role itself:
# statement_timeout is a default that a session may change, for which runs have a watchdog.
_TEMP_FILE_LIMIT: Final = "4GB"
_WRITER_STATEMENT_TIMEOUT: Final = "1h"
_READER_STATEMENT_TIMEOUT: Final = "5min"


@dataclass(frozen=True, repr=False)
class Warehouse:
    """How an org's warehouse is opened: the role that writes and its twin that only reads.

    Attributes:
        sslmode: As libpq names it; the provisioner's own.
        ssl_root_certificate: What verifies the server, in PEM; None for the well-known authorities.
    """

    host: str
    port: int
    database: str
    user: str
    password: str
    readonly_user: str
    readonly_password: str
    sslmode: str = "prefer"
    ssl_root_certificate: str | None = None


@dataclass(frozen=True, repr=False)
class Reader:
    """A login for people and their tools, that only reads."""

    user: str
    password: str


class Provisioner:
    """Makes and drops the warehouses of one PostgreSQL server.

    Args:
        server: URL of the server's maintenance database with the provisioner's role.
        name_key: Key of the opaque names; must stay the same for ever.
    """

    def __init__(self, server: URL, name_key: str) -> None:
        self._server = server
        self._name_key = name_key.encode()

    def ensure_warehouse(self, org_id: int) -> Warehouse:
        """Makes what is missing of the org's warehouse, sets fresh passwords, opens what was closed.

        Args:
            org_id: The org.

        Raises:
            psycopg.Error: The server refused.
            OSError: The root certificate that the URL names cannot be read.
        """
        name = self._name(org_id)
        readonly = f"{name}_ro"
        root = self._tls("sslrootcert")
        pem = Path(root).read_text() if root and root != "system" else None
        password, readonly_password = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self._connect() as connection:
            self._ensure_roles(connection, name)
            _reopen(connection, f"{name}_bi")
            _set_password(connection, name, password)
            _set_password(connection, readonly, readonly_password)
            _ensure_database(connection, name)
        with self._connect(name) as connection:
            _grant_inside(connection, name)
        host, port = self._server.host or "127.0.0.1", self._server.port or 5432
        made = Warehouse(host, port, name, name, password, readonly, readonly_password)
        return replace(made, sslmode=self._tls("sslmode") or "prefer", ssl_root_certificate=pem)

    def create_reader(self, org_id: int) -> Reader:
        """Makes the org's login for people, or replaces its password.

        Raises:
            LookupError: The org has no warehouse yet.
        """
        name = self._name(org_id)
        user, password = f"{name}_bi", secrets.token_urlsafe(24)
        with self._connect() as connection:
            if not _exists(connection, "pg_database", "datname", name):
                raise LookupError(f"org {org_id} has no warehouse yet")
            _ensure_role(connection, user, _READER_CONNECTIONS)
            _limit(connection, user, _READER_STATEMENT_TIMEOUT)
            _run(connection, "ALTER ROLE {} SET default_transaction_read_only = on", user)
            _run(connection, "GRANT {} TO {}", f"{name}_read", user)
            _set_password(connection, user, password)
        return Reader(user, password)

    def close_reader(self, org_id: int) -> None:
        """Shuts out the people of an org that is deleted, and ends their sessions."""
        with self._connect() as connection:
            _close(connection, f"{self._name(org_id)}_bi")

    def close_logins(self, org_id: int) -> None:
        """Shuts everybody out of an org's warehouse; its data and roles stay for `ensure_warehouse`."""
        name = self._name(org_id)
        with self._connect() as connection:
            for login in (f"{name}_bi", f"{name}_ro", name):
                _close(connection, login)

    def drop_warehouse(self, org_id: int) -> None:
        """Removes the org's database, with all data in it, and its roles."""
        name = self._name(org_id)
        with self._connect() as connection:
            _run(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
            for role in (f"{name}_bi", f"{name}_ro", f"{name}_read", name):
                _run(connection, "DROP ROLE IF EXISTS {}", role)

    def _name(self, org_id: int) -> str:
        digest = hmac.new(self._name_key, str(org_id).encode(), hashlib.sha256)
        return f"w_{digest.hexdigest()[:12]}"

    def _tls(self, parameter: str) -> str | None:
        value = self._server.query.get(parameter)
        return value if isinstance(value, str) else None

    def _connect(self, database: str | None = None) -> psycopg.Connection:
        return psycopg.connect(
            dsn_of(self._server, database), autocommit=True, connect_timeout=_TIMEOUT_SECONDS
        )

    def _ensure_roles(self, connection: psycopg.Connection, name: str) -> None:
        group, readonly = f"{name}_read", f"{name}_ro"
        _ensure_role(connection, name, _WRITER_CONNECTIONS)
        _limit(connection, name, _WRITER_STATEMENT_TIMEOUT)
        _run(connection, "GRANT {} TO {}", WAREHOUSE_WRITERS, name)
        if not _exists(connection, "pg_roles", "rolname", group):
            _run(connection, "CREATE ROLE {} NOLOGIN", group)
        _ensure_role(connection, readonly, _READER_CONNECTIONS)
        _limit(connection, readonly, _READER_STATEMENT_TIMEOUT)
        _run(connection, "ALTER ROLE {} SET default_transaction_read_only = on", readonly)
        _run(connection, "GRANT {} TO {}", group, readonly)
        # Default privileges of a role are set by itself or a member; a member may not log in as it.
        _run(connection, "GRANT {} TO CURRENT_USER", name)


def _ensure_role(connection: psycopg.Connection, name: str, connections: int) -> None:
    if not _exists(connection, "pg_roles", "rolname", name):
        _run(connection, "CREATE ROLE {} LOGIN NOCREATEDB NOCREATEROLE", name)
    _run(connection, f"ALTER ROLE {{}} LOGIN CONNECTION LIMIT {connections}", name)


def _reopen(connection: psycopg.Connection, login: str) -> None:
    """Lets a login in again, with the password that it had."""
    if _exists(connection, "pg_roles", "rolname", login):
        _run(connection, "ALTER ROLE {} LOGIN", login)


def _close(connection: psycopg.Connection, login: str) -> None:
    if not _exists(connection, "pg_roles", "rolname", login):
        return
    _run(connection, "ALTER ROLE {} NOLOGIN", login)
    # Only a member may end a role's sessions.
    _run(connection, "GRANT {} TO CURRENT_USER", login)
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_get_activity(NULL) WHERE usesysid = %s::regrole",
        [login],
    )
    # Whoever works as the provisioner has nothing to do with what is closed.
    _run(connection, "REVOKE {} FROM CURRENT_USER", login)


def _limit(connection: psycopg.Connection, role: str, statement_timeout: str) -> None:
    _run(connection, f"ALTER ROLE {{}} SET temp_file_limit = '{_TEMP_FILE_LIMIT}'", role)
    _run(connection, f"ALTER ROLE {{}} SET statement_timeout = '{statement_timeout}'", role)
    _run(connection, "ALTER ROLE {} SET idle_in_transaction_session_timeout = '10min'", role)
    _run(connection, "ALTER ROLE {} SET timezone = 'UTC'", role)


def _ensure_database(connection: psycopg.Connection, name: str) -> None:
    """Makes the database; its owner is the provisioner, so that no tenant changes its limits."""
    if not _exists(connection, "pg_database", "datname", name):
        # A limit of 0 keeps everybody out until PUBLIC's rights are gone.
        create = "CREATE DATABASE {} TEMPLATE {} CONNECTION LIMIT 0"
        _run(connection, create, name, WAREHOUSE_TEMPLATE)
    _run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
    _run(connection, "GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}", name, name)
    _run(connection, "GRANT CONNECT ON DATABASE {} TO {}", name, f"{name}_read")
    total = _WRITER_CONNECTIONS + 2 * _READER_CONNECTIONS
    _run(connection, f"ALTER DATABASE {{}} CONNECTION LIMIT {total}", name)


def _grant_inside(connection: psycopg.Connection, name: str) -> None:
    """Gives the org its public schema, and its readers what the org makes now and later."""
    group = f"{name}_read"
    _run(connection, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    _run(connection, "GRANT USAGE, CREATE ON SCHEMA public TO {}", name)
    _run(connection, "GRANT USAGE ON SCHEMA public TO {}", group)
    defaults = "ALTER DEFAULT PRIVILEGES FOR ROLE {} "
    _run(connection, defaults + "GRANT USAGE ON SCHEMAS TO {}", name, group)
    _run(connection, defaults + "GRANT SELECT ON TABLES TO {}", name, group)
    _run(connection, defaults + "GRANT SELECT ON SEQUENCES TO {}", name, group)
    # A function runs with its owner's rights if it says so: readers get none.
    _run(connection, defaults + "REVOKE EXECUTE ON ROUTINES FROM PUBLIC", name)
    own_schemas = "SELECT nspname FROM pg_namespace WHERE nspowner = %s::regrole"
    schemas = [row[0] for row in connection.execute(own_schemas, [name]).fetchall()]
    for schema in schemas:
        _run(connection, "GRANT USAGE ON SCHEMA {} TO {}", schema, group)
    for schema in ["public", *schemas]:
        _run(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}", schema, group)


def _set_password(connection: psycopg.Connection, role: str, password: str) -> None:
    """Sets a password by the verifier that the server stores: no statement holds the password."""
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    )
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))


def _exists(connection: psycopg.Connection, catalogue: str, column: str, name: str) -> bool:
    question = sql.SQL("SELECT 1 FROM {} WHERE {} = %s")
    found = connection.execute(
        question.format(sql.Identifier(catalogue), sql.Identifier(column)), [name]
    )
    return found.fetchone() is not None


def _run(connection: psycopg.Connection, statement: str, *names: str) -> None:
    """Executes a statement whose `{}` are identifiers."""
    text = sql.SQL(statement)  # pyright: ignore[reportArgumentType] - constants of this module
    connection.execute(text.format(*map(sql.Identifier, names)))


def as_message(value: Warehouse | Reader) -> dict[str, Any]:
    """Returns the value as the provisioner's answer says it."""
    return asdict(value)
