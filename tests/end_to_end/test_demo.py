"""What the demo promises: real data, exactly, with tests that tell the truth."""

from datetime import datetime

import psycopg
import pytest
from psycopg import sql

from tests.end_to_end.conftest import Org, RunningStack

ROWS = {"airlines": 16, "airports": 1458, "flights": 336776, "planes": 3322, "weather": 26115}
KEYS = {
    "org",
    "email",
    "password",
    "api_url",
    "dagster_url",
    "source_url",
    "warehouse_url",
    "tables",
    "models",
    "tests",
    "seconds",
}


def test_prints_one_object_with_what_was_done(stack: RunningStack):
    assert set(stack.demo) == KEYS
    assert stack.demo["org"] == "acme"
    assert stack.demo["tables"] == ROWS
    assert len(stack.demo["models"]) == 3
    assert stack.demo["models"]["stg_flights"] == ROWS["flights"]
    assert min(stack.demo["models"].values()) > 0


def test_the_relationship_that_does_not_hold_is_a_warning(stack: RunningStack):
    results = stack.demo["tests"]
    broken = [name for name, status in results.items() if status == "warn"]
    assert len(broken) == 1
    assert "relationships" in broken[0]
    assert "tailnum" in broken[0]
    assert all(status == "pass" for name, status in results.items() if name not in broken)
    assert len(results) >= 8


@pytest.mark.parametrize("table", sorted(ROWS))
def test_every_value_of_the_source_is_in_the_warehouse(stack: RunningStack, table: str):
    with (
        psycopg.connect(stack.demo["source_url"]) as source,
        psycopg.connect(stack.demo["warehouse_url"]) as warehouse,
    ):
        columns = types_of(source, "public", table)
        copied = types_of(warehouse, "airline", table)
        assert {name: copied.get(name) for name in columns} == columns
        names = sorted(columns)
        expected = fingerprint(source, "public", table, names)
        assert fingerprint(warehouse, "airline", table, names) == expected
        assert expected["rows"] == ROWS[table]


def types_of(connection: psycopg.Connection, schema: str, table: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped",
        [f'"{schema}"."{table}"'],
    )
    return dict(rows.fetchall())


def fingerprint(
    connection: psycopg.Connection, schema: str, table: str, columns: list[str]
) -> dict[str, object]:
    """Counts, NULLs, empty strings and an order-free checksum of each column's text."""
    parts = [sql.SQL("count(*)")]
    for name in columns:
        column = sql.Identifier(name)
        parts += [
            sql.SQL("count({})").format(column),
            sql.SQL("count(*) FILTER (WHERE {}::text = '')").format(column),
            sql.SQL("sum(hashtextextended({}::text, 0)::numeric)").format(column),
        ]
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(parts), sql.Identifier(schema, table)
    )
    row = connection.execute("SET timezone = 'UTC'") and connection.execute(query).fetchone()
    assert row is not None
    return {"rows": row[0], "columns": row[1:]}


def test_the_run_tells_rows_and_checks(acme: Org):
    run = acme.first_run()
    view = acme.get(f"runs/{run['id']}")
    assert view["status"] == "success"
    assert view["trigger"] == "api"
    tables = {a["name"]: a["rows"] for a in view["assets"] if a["kind"] == "table"}
    assert tables == ROWS
    assert {check["status"] for check in view["checks"]} == {"pass", "warn"}
    failing = next(check for check in view["checks"] if check["status"] == "warn")
    assert failing["failures"] > 0


def test_the_log_is_read_in_pages(acme: Org):
    run = acme.first_run()
    lines, cursor, pages = [], None, 0
    while True:
        parameters = {"limit": 20} | ({"cursor": cursor} if cursor else {})
        page = acme.get(f"runs/{run['id']}/logs", **parameters)
        lines += page["data"]
        cursor, pages = page["next_cursor"], pages + 1
        if not page["has_more"]:
            break
    assert pages > 1
    assert any("flights" in line["message"] for line in lines)
    times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
    assert times == sorted(times)


def test_dagster_shows_the_assets(stack: RunningStack):
    data = stack.graphql("{ assetNodes { assetKey { path } groupName dependencyKeys { path } } }")
    nodes = {tuple(node["assetKey"]["path"]): node for node in data["assetNodes"]}
    tables = {key[3] for key in nodes if key[2] == "airline"}
    assert tables >= set(ROWS)
    upstream = nodes[("acme", "warehouse", "staging", "stg_flights")]["dependencyKeys"]
    assert {"path": ["acme", "warehouse", "airline", "flights"]} in upstream
