"""Discovery: everything a role can read, exact types, and quickly."""

import time
from pathlib import Path
from typing import Any

import pytest

from datanika_dagster.connectors import discover
from tests.datanika_dagster.databases import LOOPBACK, Database, RecordingJob


def tables_of(database: Database, tmp_path: Path, schema: str | None = None, **changed: Any) -> Any:
    secret = {"connector": "postgres", "config": {**database.config, **changed}}
    payload = {"connection": "shop", "schema": schema, "allowed_networks": LOOPBACK}
    return discover.run(RecordingJob(tmp_path), payload, {"shop": secret})["tables"]


def test_tables_views_and_columns(database: Database, tmp_path: Path) -> None:
    database.execute(
        "create schema other",
        'create table "Odd ""Name" (b numeric(38,18) not null, a timestamptz, "select" int[],'
        ' primary key ("select", b))',
        "create view v as select 1 as one",
        "create materialized view other.m as select 'x'::varchar(3) as x",
        "create table p (i int) partition by range (i)",
        "create table p1 partition of p for values from (0) to (10)",
        "create table dropped (a int, b int)",
        "alter table dropped drop a",
        "analyze",
    )
    found = {(t["schema"], t["table"]): t for t in tables_of(database, tmp_path)}
    assert set(found) == {
        ("public", 'Odd "Name'),
        ("public", "v"),
        ("other", "m"),
        ("public", "p"),
        ("public", "dropped"),
    }
    odd = found[("public", 'Odd "Name')]
    assert odd["kind"] == "table"
    assert odd["primary_key"] == ["select", "b"]
    assert odd["columns"] == [
        {"name": "b", "type": "numeric(38,18)", "nullable": False},
        {"name": "a", "type": "timestamp with time zone", "nullable": True},
        {"name": "select", "type": "integer[]", "nullable": False},
    ]
    assert found[("other", "m")]["kind"] == "materialized_view"
    assert found[("other", "m")]["row_estimate"] == 1
    assert [c["name"] for c in found[("public", "dropped")]["columns"]] == ["b"]
    assert [t["table"] for t in tables_of(database, tmp_path, "other")] == ["m"]


def test_a_table_that_was_never_analysed_has_no_estimate(
    database: Database, tmp_path: Path
) -> None:
    database.execute("create table t (i int)")
    assert tables_of(database, tmp_path)[0]["row_estimate"] is None


def test_only_what_the_role_can_read(database: Database, tmp_path: Path) -> None:
    role = f"reader_{database.name}"
    database.execute(
        f"create role {role} login password 'x'",
        "create table seen (i int)",
        "create table hidden (i int)",
        f"grant select on seen to {role}",
    )
    try:
        found = tables_of(database, tmp_path, user=role, password="x")
        assert [t["table"] for t in found] == ["seen"]
    finally:
        database.execute(f"drop owned by {role}", f"drop role {role}")


@pytest.mark.parametrize("tables", [2000])
def test_many_tables_are_quick(database: Database, tmp_path: Path, tables: int) -> None:
    for start in range(0, tables, 500):  # a transaction's locks have to fit the lock table
        database.execute(
            f"do $$ begin for i in {start}..{start + 499} loop execute format("
            "'create table t_%s (id bigint primary key, a text, b numeric(10,2))', i);"
            " end loop; end $$"
        )
    started = time.monotonic()
    assert len(tables_of(database, tmp_path)) == tables
    assert time.monotonic() - started < 10 * tables / 10_000
