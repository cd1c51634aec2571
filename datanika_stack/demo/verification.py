"""Compares what arrived in the warehouse with what is in the source.

It must not know how the rows got there: it asks both databases with read-only logins.
"""

from collections.abc import Iterable

import psycopg
from psycopg import sql

from datanika_stack.demo.definitions import SCHEMA


def count_tables(warehouse_url: str, tables: Iterable[str]) -> dict[str, int]:
    """Returns the rows per loaded table in the warehouse.

    Args:
        warehouse_url: libpq URL of a login that may read.
        tables: Names in the demo's schema.

    Raises:
        psycopg.Error: The server refused something.
    """
    with psycopg.connect(warehouse_url) as connection:
        return {table: _count(connection, SCHEMA, table) for table in tables}


def count_models(warehouse_url: str, models: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Returns the rows per model; `models` are pairs of schema and name. Raises as above."""
    with psycopg.connect(warehouse_url) as connection:
        return {name: _count(connection, schema, name) for schema, name in models}


def differences(
    source: dict[str, int], warehouse: dict[str, int], reported: dict[str, int | None]
) -> list[str]:
    """Returns one sentence per table whose three counts do not agree."""
    return [
        f"{table}: source {rows:,}, warehouse {warehouse.get(table)}, run {reported.get(table)}"
        for table, rows in source.items()
        if not rows == warehouse.get(table) == reported.get(table)
    ]


def _count(connection: psycopg.Connection, schema: str, table: str) -> int:
    row = connection.execute(
        sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
    ).fetchone()
    return int(row[0]) if row else 0
