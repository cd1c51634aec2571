"""Checksums of tables, column by column, that two PostgreSQL databases can be compared by."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

_COLUMNS = """
    select column_name from information_schema.columns
    where table_schema = %s and table_name = %s order by ordinal_position
"""


@dataclass(frozen=True)
class TableChecksum:
    """What a table holds.

    Attributes:
        rows: Number of rows.
        columns: Per column the number of values that are not NULL and the sum of their texts'
            hashes. An empty string counts and has a hash, NULL does not; a lost decimal changes
            the text.
    """

    rows: int
    columns: dict[str, tuple[int, int]]


def table_checksum(
    connection: psycopg.Connection, schema: str, table: str, *, columns: list[str] | None = None
) -> TableChecksum:
    """Computes the checksum of `columns` (default: all of the table's)."""
    connection.execute("set timezone = 'UTC'")
    names = columns or [row[0] for row in connection.execute(_COLUMNS, [schema, table])]
    parts: list[sql.Composable] = [sql.SQL("count(*)")]
    for name in names:
        column = sql.Identifier(name)
        parts.append(sql.SQL("count({})").format(column))
        parts.append(
            sql.SQL("coalesce(sum(hashtextextended({}::text, 0)::numeric), 0)").format(column)
        )
    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(parts), sql.Identifier(schema, table)
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    values = [int(value) for value in row]
    pairs = zip(values[1::2], values[2::2], strict=True)
    return TableChecksum(values[0], dict(zip(names, pairs, strict=True)))


def different_columns(source: TableChecksum, copy: TableChecksum) -> list[str]:
    """Returns the columns that differ; `(rows)` stands for the number of rows."""
    wrong = ["(rows)"] if source.rows != copy.rows else []
    return wrong + [name for name, sums in source.columns.items() if copy.columns.get(name) != sums]
