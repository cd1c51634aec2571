"""Makes the stack's databases and roles on a PostgreSQL server, as its superuser.

Each statement can be repeated, so that an interrupted set-up is completed by the next. It must not
know tables: those are the migrations'.
"""

import hashlib
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy import URL

from datanika_dagster.row_security.statements import READERS, RUNS
from datanika_stack.endpoints import DatabaseEndpoints, dsn_of
from datanika_stack.errors import StackError

WAREHOUSE_TEMPLATE: Final = "datanika_warehouse_template"
# Member: each org's role that writes. Holds what the template withdraws but loading needs.
WAREHOUSE_WRITERS: Final = "datanika_warehouse_writers"
_SHARED_READER: Final = "dagster_reader"
_TIMEOUT_SECONDS: Final = 10

# Of no use to loading and transforming, but ways to reach past one's own tables: large objects
# belong to no schema, advisory locks and statistics are shared by all sessions.
_WITHDRAWN_FUNCTIONS: Final = r"""
    SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
      AND (p.proname ~ '^(lo_|loread$|lowrite$|pg_stat_get_|pg_stat_reset|pg_logical_emit_message$)'
           OR p.proname ~ '^pg_(try_)?advisory_'
           OR p.proname IN ('pg_lock_status', 'pg_blocking_pids', 'pg_safe_snapshot_blocking_pids',
                            'pg_prepared_xact', 'pg_get_backend_memory_contexts'))
      AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS granted
                  WHERE granted.grantee = 0)
    ORDER BY 1
"""
# One upload at a time appends to a table (docs/decisions/0041); locks end at the database's border.
_WRITERS_FUNCTIONS: Final = (
    "pg_advisory_lock(bigint)",
    "pg_try_advisory_lock(bigint)",
    "pg_advisory_unlock(bigint)",
    "pg_advisory_xact_lock(bigint)",
    "pg_try_advisory_xact_lock(bigint)",
)
_TEMPLATE_RULES: Final = "".join([_WITHDRAWN_FUNCTIONS, *_WRITERS_FUNCTIONS])
_TEMPLATE_MARK: Final = (
    "datanika warehouse template " + hashlib.sha256(_TEMPLATE_RULES.encode()).hexdigest()[:16]
)


def ensure_databases(endpoints: DatabaseEndpoints) -> None:
    """Makes roles, databases and the warehouse template, and closes every database to PUBLIC.

    Args:
        endpoints: Names and passwords to make; `admin` must be a superuser of the server.

    Raises:
        StackError: There is no admin URL, or the server refuses.
    """
    if endpoints.admin is None:
        raise StackError("DATANIKA_ADMIN_DATABASE_URL must be set to make databases and roles")
    try:
        _ensure_on_server(endpoints, endpoints.admin)
        _ensure_control_plane_grants(endpoints, endpoints.admin)
        _ensure_template_content(endpoints.admin)
    except psycopg.Error as error:
        raise StackError(f"databases and roles could not be made: {error}") from error


def _ensure_on_server(endpoints: DatabaseEndpoints, admin: URL) -> None:
    app, owner, dagster, provisioner = (
        _user(url)
        for url in (endpoints.app, endpoints.owner, endpoints.dagster, endpoints.provisioner)
    )
    with _connect(admin) as connection:
        for url in (endpoints.app, endpoints.owner, endpoints.dagster):
            _ensure_role(connection, url, "NOCREATEDB NOCREATEROLE")
        _ensure_role(connection, endpoints.provisioner, "CREATEDB CREATEROLE")
        for group in (WAREHOUSE_WRITERS, RUNS, READERS):
            _ensure_group(connection, group, provisioner)
        _ensure_database(connection, _database(endpoints.owner), owner)
        _ensure_database(connection, _database(endpoints.dagster), dagster)
        _ensure_database(connection, WAREHOUSE_TEMPLATE, _user(admin))
        _run(connection, "ALTER DATABASE {} IS_TEMPLATE true", WAREHOUSE_TEMPLATE)
        _close_to_public(connection)
        _run(connection, "GRANT CONNECT ON DATABASE {} TO {}", _database(endpoints.app), app)
        maintenance = _database(endpoints.provisioner)
        _run(connection, "GRANT CONNECT ON DATABASE {} TO {}", maintenance, provisioner)
        # Only a superuser may set it otherwise; the warehouses' roles get it from the provisioner.
        _run(connection, "GRANT SET ON PARAMETER temp_file_limit TO {}", provisioner)
        # To end what orgs' logins do not end themselves (`overdue_transactions.py`).
        _run(connection, "GRANT pg_signal_backend, pg_read_all_stats TO {}", provisioner)


def _ensure_role(connection: psycopg.Connection, url: URL, powers: str) -> None:
    name, password = _user(url), url.password
    if not password:
        raise StackError(f"the URL of the role {name} has no password")
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    if exists is None:
        _run(connection, "CREATE ROLE {}", name)
    # What the server stores is computed here: the password itself stays out of every statement.
    verifier = connection.pgconn.encrypt_password(
        str(password).encode(), name.encode(), b"scram-sha-256"
    )
    statement = (
        f"ALTER ROLE {{}} LOGIN NOSUPERUSER NOREPLICATION NOBYPASSRLS {powers} PASSWORD {{}}"
    )
    connection.execute(
        sql.SQL(statement).format(sql.Identifier(name), sql.Literal(verifier.decode()))  # pyright: ignore[reportArgumentType]
    )


def _ensure_group(connection: psycopg.Connection, group: str, provisioner: str) -> None:
    """Makes a role whose members the provisioner may choose, and which it need not use itself."""
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [group])
    if known.fetchone() is None:
        _run(connection, "CREATE ROLE {} NOLOGIN", group)
    _run(connection, "GRANT {} TO {} WITH ADMIN OPTION", group, provisioner)


def _ensure_database(connection: psycopg.Connection, name: str, owner: str) -> None:
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    if found is None:
        _run(
            connection,
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'",
            name,
            owner,
        )
    else:
        _run(connection, "ALTER DATABASE {} OWNER TO {}", name, owner)


def _close_to_public(connection: psycopg.Connection) -> None:
    for (name,) in connection.execute(
        "SELECT datname FROM pg_database ORDER BY datname"
    ).fetchall():
        _run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)


def _ensure_control_plane_grants(endpoints: DatabaseEndpoints, admin: URL) -> None:
    """Closes the schemas to PUBLIC; the rights on tables are given by the migrations."""
    app, owner = _user(endpoints.app), _user(endpoints.owner)
    with _connect(admin, _database(endpoints.owner)) as connection:
        _run(connection, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
        _run(connection, "ALTER SCHEMA public OWNER TO {}", owner)
        _run(connection, "GRANT USAGE ON SCHEMA public TO {}", app)
    with _connect(admin, _database(endpoints.dagster)) as connection:
        _run(connection, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
        _run(connection, "ALTER SCHEMA public OWNER TO {}", _user(endpoints.dagster))
        _retire_shared_reader(connection)
        _withdraw_functions(connection)


def _retire_shared_reader(connection: psycopg.Connection) -> None:
    """Removes the one login that all code servers had before each org's had its own."""
    found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [_SHARED_READER])
    if found.fetchone() is not None:
        _run(connection, "DROP OWNED BY {}", _SHARED_READER)
        _run(connection, "DROP ROLE {}", _SHARED_READER)


def _withdraw_functions(connection: psycopg.Connection) -> None:
    """Takes from PUBLIC what reaches past one's own rows; nothing to do the second time."""
    for (signature,) in connection.execute(_WITHDRAWN_FUNCTIONS).fetchall():
        withdraw = f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC"
        connection.execute(sql.SQL(withdraw))  # pyright: ignore[reportArgumentType]


def _ensure_template_content(admin: URL) -> None:
    """Prepares the database that warehouses are copied from.

    Functions of the catalogue belong to the superuser: a provisioner without that power cannot
    withdraw them in a new database, but a copy inherits what was withdrawn in its template.
    """
    question = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    with _connect(admin) as connection:
        row = connection.execute(question, [WAREHOUSE_TEMPLATE]).fetchone()
        if row == (_TEMPLATE_MARK,):
            return
        with _connect(admin, WAREHOUSE_TEMPLATE) as template:
            _run(template, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
            _withdraw_functions(template)
            for signature in _WRITERS_FUNCTIONS:
                grant = f"GRANT EXECUTE ON FUNCTION {signature} TO {{}}"
                _run(template, grant, WAREHOUSE_WRITERS)
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        connection.execute(
            comment.format(sql.Identifier(WAREHOUSE_TEMPLATE), sql.Literal(_TEMPLATE_MARK))
        )


def _connect(admin: URL, database: str | None = None) -> psycopg.Connection:
    return psycopg.connect(
        dsn_of(admin, database), autocommit=True, connect_timeout=_TIMEOUT_SECONDS
    )


def _run(connection: psycopg.Connection, statement: str, *names: str) -> None:
    """Executes a statement whose `{}` are identifiers."""
    text = sql.SQL(statement)  # pyright: ignore[reportArgumentType] - constants of this module
    connection.execute(text.format(*map(sql.Identifier, names)))


def _user(url: URL) -> str:
    if not url.username:
        raise StackError("a database URL names no user")
    return url.username


def _database(url: URL) -> str:
    if not url.database:
        raise StackError("a database URL names no database")
    return url.database
