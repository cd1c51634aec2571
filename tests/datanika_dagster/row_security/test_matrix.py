"""What an org's logins can do with its own rows and with another org's, table by table."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from datanika_dagster.row_security.tables import TABLES
from datanika_dagster.row_security.tables import Owned as Kind
from tests.datanika_dagster.row_security.conftest import ACME, GLOBEX, Secured
from tests.datanika_dagster.row_security.rows import (
    CHANGED,
    Owned,
    fresh_row,
    insert,
    make_owned,
    name_of,
    where,
)

# s, i, u, d: the login can select, insert, update, delete; of its own org's rows, of another's.
RUN_LOGIN = {
    "runs": ("s-u-", "----"),
    "run_tags": ("siu-", "----"),
    "event_logs": ("si--", "----"),
    "asset_keys": ("siu-", "----"),
    "asset_event_tags": ("si--", "----"),
    "asset_check_executions": ("siu-", "----"),
    "concurrency_limits": ("siu-", "----"),
    "concurrency_slots": ("siu-", "----"),
    "pending_steps": ("siu-", "----"),
    "snapshots": ("s---", "----"),
    "alembic_version": ("s---", "s---"),
    "secondary_indexes": ("s---", "s---"),
    "instance_info": ("s---", "s---"),
    "datanika.run_owners": ("s---", "----"),
    "datanika.snapshot_owners": ("s---", "----"),
    "datanika.run_claims": ("si--", "----"),
}
READER_LOGIN = {
    "runs": ("s---", "----"),
    "run_tags": ("s---", "----"),
    "event_logs": ("s---", "----"),
    "asset_keys": ("s---", "----"),
    "asset_event_tags": ("s---", "----"),
    "asset_check_executions": ("s---", "----"),
    "snapshots": ("s---", "----"),
    "alembic_version": ("s---", "s---"),
    "secondary_indexes": ("s---", "s---"),
    "instance_info": ("s---", "s---"),
    "datanika.run_owners": ("s---", "----"),
    "datanika.snapshot_owners": ("s---", "----"),
}
NOTHING = ("----", "----")
CANNOT = psycopg.errors.InsufficientPrivilege


@pytest.fixture(scope="module")
def owned(secured: Secured) -> tuple[Owned, Owned]:
    return make_owned(secured, ACME), make_owned(secured, GLOBEX)


def test_the_tables_are_those_of_the_database(secured: Secured):
    with secured.as_owner() as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'm', 'f')"
        ).fetchall()
    names = {row[0] for row in rows}
    assert names - set(TABLES) == set(), "Dagster has new tables: say in TABLES whose they are"
    assert set(TABLES) - names == set()


def test_what_is_shared_or_withheld_says_why():
    for name, table in TABLES.items():
        is_nobodys = table.owned in (Kind.SHARED, Kind.WITHHELD)
        assert bool(table.reason) is is_nobodys, name
        assert not (table.owned is Kind.WITHHELD and table.runs), name


@pytest.mark.parametrize("login", ["as_run", "as_reader"])
@pytest.mark.parametrize("table", sorted(CHANGED))
def test_matrix(secured: Secured, owned: tuple[Owned, Owned], login: str, table: str):
    expected = (RUN_LOGIN if login == "as_run" else READER_LOGIN).get(table, NOTHING)
    with getattr(secured, login)(ACME) as connection:
        connection.execute("SET default_transaction_read_only = off")
        found = tuple(can(secured, connection, table, of) for of in owned)
    assert found == expected


def test_the_matrix_can_fail(secured: Secured, owned: tuple[Owned, Owned]):
    with secured.as_owner() as connection:
        assert can(secured, connection, "run_tags", owned[1]) == "siud"


def test_the_matrix_has_every_table():
    assert {name for name in CHANGED if "." not in name} == set(TABLES)


def can(secured: Secured, connection: psycopg.Connection, table: str, of: Owned) -> str:
    """Returns the letters of what a connection can do with a row of somebody's."""
    row = existing_row(secured, table, of)
    name, condition = name_of(table), where(row)
    changed = sql.Identifier(CHANGED[table])
    attempts: dict[str, Callable[[], int]] = {
        "s": lambda: len(
            connection.execute(
                sql.SQL("SELECT 1 FROM {} WHERE {}").format(name, condition), row
            ).fetchall()
        ),
        "i": lambda: insert(connection, table, fresh_row(table, of)) or 1,
        "u": lambda: (
            connection.execute(
                sql.SQL("UPDATE {} SET {} = {} WHERE {}").format(name, changed, changed, condition),
                row,
            ).rowcount
        ),
        "d": lambda: (
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE {}").format(name, condition), row
            ).rowcount
        ),
    }
    return "".join(
        letter if succeeds(connection, attempt) else "-" for letter, attempt in attempts.items()
    )


def existing_row(secured: Secured, table: str, of: Owned) -> dict[str, object]:
    """Makes a row of an org and returns it."""
    if table == "runs":
        return {"run_id": make_owned(secured, of.org).run_id}
    if table == "datanika.run_owners":
        return {"run_id": of.run_id}
    # A run is claimed once: another one than that which the attempt claims.
    is_once = table == "datanika.run_claims"
    row = fresh_row(table, make_owned(secured, of.org) if is_once else of)
    with secured.as_owner() as connection:
        if table == "datanika.backfill_owners":
            backfill = fresh_row("bulk_actions", of) | {"key": row["backfill_id"]}
            insert(connection, "bulk_actions", backfill)
        insert(connection, table, row)
        if table == "snapshots":
            owner = {"snapshot_id": row["snapshot_id"], "org": of.org.org}
            insert(connection, "datanika.snapshot_owners", owner)
    return row


def succeeds(connection: psycopg.Connection, attempt: Callable[[], int]) -> bool:
    """Tells whether something can be done, and undoes it."""
    try:
        with connection.transaction(force_rollback=True):
            return attempt() > 0
    except CANNOT:
        return False
