"""Rows of a query as JSON that says exactly what PostgreSQL said.

Numbers that JSON readers round (decimals, integers beyond 2⁵³) and everything without a JSON type
are PostgreSQL's own text; only booleans, safe integers, finite floats and NULL are JSON's.
"""

import math
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.string import TextLoader
from pydantic import JsonValue

MAX_CELL_LENGTH = 10_000
"""Characters; a longer text is cut and ends with an ellipsis."""

MAX_CHARACTERS = 1_000_000
"""Of all values together; the rows that do not fit any more are left out, but for the first."""

_BATCH_ROWS = 20

_MAX_SAFE_INTEGER = 2**53 - 1  # https://tc39.es/ecma262/#sec-number.max_safe_integer
_NATIVE = frozenset({"bool", "int2", "int4", "int8", "oid", "float4", "float8"})


def fetch(session: psycopg.Connection[Any], query: str, limit: int) -> dict[str, JsonValue]:
    """Returns columns and first rows of one query.

    The query becomes a cursor, which PostgreSQL allows for a single SELECT or VALUES only: no
    second statement, no data-modifying WITH.

    Args:
        session: In a read-only transaction.
        query: Compiled SQL.
        limit: How many rows at most.

    Returns:
        `{"columns": [{"name", "type"}], "rows": [[value…]…], "is_cut"}`; `is_cut` where rows were
        left out because they are too large.

    Raises:
        psycopg.Error: The server refused the query.
    """
    _load_as_text(session)
    with session.cursor(name="preview") as cursor:
        cursor.execute(query.rstrip().removesuffix(";").encode())
        names = [column.name for column in cursor.description or ()]
        types = _types(session, cursor)
        rows, is_cut = _rows(cursor, limit)
    return {
        "columns": [{"name": n, "type": t} for n, t in zip(names, types, strict=True)],
        "rows": rows,
        "is_cut": is_cut,
    }


def _rows(cursor: psycopg.ServerCursor[Any], limit: int) -> tuple[list[JsonValue], bool]:
    rows: list[JsonValue] = []
    characters = 0
    while len(rows) < limit:
        wanted = min(_BATCH_ROWS, limit - len(rows))
        batch = cursor.fetchmany(wanted)
        for row in batch:
            values = [_value(cell) for cell in row]
            characters += sum(len(value) for value in values if isinstance(value, str))
            if characters > MAX_CHARACTERS and rows:
                return rows, True
            rows.append(values)
        if len(batch) < wanted:
            break
    return rows, False


def _load_as_text(session: psycopg.Connection[Any]) -> None:
    for info in psycopg.adapters.types:
        for oid in (info.oid if info.name not in _NATIVE else 0, info.array_oid):
            if oid:
                session.adapters.register_loader(oid, TextLoader)


def _types(session: psycopg.Connection[Any], cursor: psycopg.ServerCursor[Any]) -> list[str]:
    result = cursor.pgresult
    if result is None or not result.nfields:
        return []
    columns = range(result.nfields)
    # Values, not parameters: the server must see `oid` and `int4`, whatever it infers.
    values = sql.SQL(", ").join(
        sql.SQL("({}, {}::oid, {}::int4)").format(i, result.ftype(i), result.fmod(i))
        for i in columns
    )
    statement = sql.SQL(
        "SELECT format_type(type, modifier) FROM (VALUES {}) AS c (i, type, modifier) ORDER BY i"
    ).format(values)
    return [row[0] for row in session.execute(statement).fetchall()]


def _value(cell: Any) -> JsonValue:
    match cell:
        case bool() | None:
            return cell
        case int():
            return cell if abs(cell) <= _MAX_SAFE_INTEGER else str(cell)
        case float():
            return cell if math.isfinite(cell) else str(cell)
        case str() if len(cell) > MAX_CELL_LENGTH:
            return cell[:MAX_CELL_LENGTH] + "…"
        case _:
            return str(cell)
