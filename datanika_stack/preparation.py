"""Brings the databases' schemas up to date before the processes that use them start.

Whether there is something to do is written in the databases themselves, as their comment: an
unchanged stack starts without paying for Alembic and Dagster.
"""

import hashlib
import importlib.metadata
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import URL

from datanika_dagster.row_security.installation import GroupsMissing, install, state_of
from datanika_stack.base_environment import PYTHON
from datanika_stack.endpoints import dsn_of
from datanika_stack.errors import StackError
from datanika_stack.layout import PROJECT_ROOT
from datanika_stack.private_files import write_private

_T = TypeVar("_T")
_TIMEOUT_SECONDS: Final = 300
_LAST_LINES: Final = 15


def migrate_control_plane(
    owner: URL, environment: Mapping[str, str], bootstrap: Mapping[str, str], log_file: Path
) -> bool:
    """Migrates the control plane's database and makes the first operator.

    Args:
        owner: The database, with the role that owns its tables.
        environment: Bare environment; the migration gets nothing else but its URL.
        bootstrap: Environment of the control plane with the operator's name and password.
        log_file: Takes the output of both.

    Returns:
        Whether there was something to do.

    Raises:
        StackError: A step failed; the message ends with its last lines.
    """
    mark = f"datanika schema {_digest_of_migrations()}"
    if _read_mark(owner) == mark:
        return False
    alembic = (*PYTHON, "alembic", "-c", str(PROJECT_ROOT / "alembic.ini"), "upgrade", "head")
    url = owner.render_as_string(hide_password=False)
    _run(alembic, dict(environment) | {"DATANIKA_MIGRATION_DATABASE_URL": url}, log_file)
    _run((*PYTHON, "control_plane.system.bootstrap"), bootstrap, log_file)
    _write_mark(owner, mark)
    return True


def migrate_dagster(
    storage: URL, provisioner: URL, environment: Mapping[str, str], log_file: Path
) -> bool:
    """Makes or upgrades Dagster's tables, from this one process: two at once leave half of them.

    Then it puts them under row-level security, if they are not as they should be.

    Args:
        storage: Dagster's database, with the role that owns its tables.
        provisioner: Names the role that makes orgs' logins.
        environment: That of a process that opens the Dagster instance.
        log_file: Takes the output.

    Returns:
        Whether there was something to do.

    Raises:
        StackError: Dagster failed; the message ends with its last lines.
    """
    digest = hashlib.sha256(dagster_yaml().read_bytes()).hexdigest()[:12]
    schema = f"dagster {importlib.metadata.version('dagster')} {digest}"
    mark = _read_mark(storage) or ""
    is_migrated = mark.startswith(f"{schema} rows ")
    if is_migrated and mark == f"{schema} rows {_row_security(storage, provisioner, state_of)}":
        return False
    if not is_migrated:
        _run((*PYTHON, "dagster", "instance", "migrate"), environment, log_file)
    _row_security(storage, provisioner, install)
    _write_mark(storage, f"{schema} rows {_row_security(storage, provisioner, state_of)}")
    return True


def dagster_yaml() -> Path:
    """Returns the instance configuration that the execution plane's package carries."""
    return PROJECT_ROOT / "datanika_dagster" / "dagster.yaml"


def install_dagster_home(dagster_home: Path) -> None:
    """Puts the instance configuration where Dagster looks for it."""
    dagster_home.mkdir(parents=True, exist_ok=True)
    write_private(dagster_home / "dagster.yaml", dagster_yaml().read_text())


def _row_security(
    storage: URL, provisioner: URL, do: Callable[[psycopg.Connection, str], _T]
) -> _T:
    try:
        with psycopg.connect(dsn_of(storage), connect_timeout=10) as connection:
            return do(connection, str(provisioner.username))
    except GroupsMissing as error:
        advice = "set DATANIKA_ADMIN_DATABASE_URL, so that `datanika migrate` can make them"
        raise StackError(f"{error}: {advice}") from error
    except psycopg.Error as error:
        raise StackError(f"Dagster's tables cannot be secured: {error}") from error


def _digest_of_migrations() -> str:
    digest = hashlib.sha256()
    folder = PROJECT_ROOT / "migrations"
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _run(command: tuple[str, ...], environment: Mapping[str, str], log_file: Path) -> None:
    done = subprocess.run(  # noqa: S603 - the stack's own commands
        command,
        env=dict(environment),
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_SECONDS,
        check=False,
        # A terminal's Ctrl-C stops the supervisor, which lets a migration come to its end.
        start_new_session=True,
    )
    with log_file.open("a") as log:
        log.write(done.stdout)
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
        raise StackError(f"`{' '.join(command[2:])}` failed (log: {log_file}):\n{last}")


def _read_mark(url: URL) -> str | None:
    question = (
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
        "WHERE datname = current_database()"
    )
    try:
        with psycopg.connect(dsn_of(url), connect_timeout=10) as connection:
            row = connection.execute(question).fetchone()
            return row[0] if row else None
    except psycopg.Error as error:
        raise StackError(f"cannot open the database {url.database}: {error}") from error


def _write_mark(url: URL, mark: str) -> None:
    with psycopg.connect(dsn_of(url), connect_timeout=10) as connection:
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
        connection.execute(statement.format(sql.Identifier(str(url.database)), sql.Literal(mark)))
