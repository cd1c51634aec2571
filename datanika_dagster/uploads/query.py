"""The SELECT that a copy reads from: columns with exact types, row filters, cursor bounds.

Names and values are quoted by psycopg; no text of a user is ever part of the SQL itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from psycopg import sql
from pydantic import JsonValue

from datanika_dagster.uploads import errors
from datanika_dagster.uploads.source_table import LOAD_ID_COLUMN, SourceColumn, SourceTable
from datanika_manifest.uploads import FilterOperator, RowFilter

_COMPARISONS = {
    FilterOperator.EQ: sql.SQL("="),
    FilterOperator.NE: sql.SQL("<>"),
    FilterOperator.GT: sql.SQL(">"),
    FilterOperator.GTE: sql.SQL(">="),
    FilterOperator.LT: sql.SQL("<"),
    FilterOperator.LTE: sql.SQL("<="),
}
_INFINITIES = sql.SQL("'infinity', '-infinity'")
_ENDLESS: dict[str, tuple[str, sql.SQL]] = {
    # An index on the column serves where its type knows all the values.
    "real": ("{} IN ({})", sql.SQL("'NaN', 'Infinity', '-Infinity'")),
    "double precision": ("{} IN ({})", sql.SQL("'NaN', 'Infinity', '-Infinity'")),
    "date": ("{} IN ({})", _INFINITIES),
    "timestamp": ("{} IN ({})", _INFINITIES),
    # Infinities came late: to numeric with PostgreSQL 14, to interval with 17.
    "numeric": ("{}::text IN ({})", sql.SQL("'NaN', 'Infinity', '-Infinity'")),
    "interval": ("{}::text IN ({})", _INFINITIES),
}
_TEXTUAL = ("text", "character", '"char"', "name", "citext")


@dataclass(frozen=True)
class CursorBounds:
    """Which rows an incremental load reads; values are PostgreSQL's own text of them.

    Attributes:
        column: The cursor column.
        lower: Rows above it (from it on where `is_lower_closed`); None reads from the start.
        is_lower_closed: Whether rows equal to `lower` are read.
        upper: Rows up to and including it, fixed before anything is read.
        endless: A condition on rows that are read although they are above `upper`.
    """

    column: str
    lower: str | None
    is_lower_closed: bool
    upper: str
    endless: sql.Composable | None = None


@dataclass(frozen=True)
class CursorRange:
    """What the cursor column of the rows that pass the filters holds.

    Attributes:
        greatest: Its greatest finite value in PostgreSQL's own text, None without one.
        has_nulls: Whether rows without a cursor exist.
        has_endless: Whether rows exist whose cursor is an infinity or NaN.
    """

    greatest: str | None = None
    has_nulls: bool = False
    has_endless: bool = False


def select(
    table: SourceTable,
    columns: Sequence[tuple[SourceColumn, str]],
    condition: sql.Composable,
    load_id: str,
) -> sql.Composed:
    """Returns the SELECT of a copy; its last column is the load id.

    Args:
        table: The source table.
        columns: Each column with its destination's type. Every one is cast, also where that
            changes nothing: the stream's types must not depend on what the source is by now.
        condition: What `where` returned.
        load_id: dlt's id of this load, the same for every row.
    """
    items = [
        sql.SQL("{}::{}").format(sql.Identifier(column.name), _type(type_name))
        for column, type_name in columns
    ]
    items.append(
        sql.SQL("{}::text AS {}").format(sql.Literal(load_id), sql.Identifier(LOAD_ID_COLUMN))
    )
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(items), table.identifier, condition
    )


def where(
    table: SourceTable,
    filters: Sequence[RowFilter],
    bounds: CursorBounds | None = None,
    extra: Sequence[sql.Composable] = (),
) -> sql.Composable:
    """Returns the condition of a copy.

    Args:
        table: The source table.
        filters: Joined with AND. As in SQL, a comparison is not true of NULL.
        bounds: The rows of an incremental load.
        extra: Further conditions.

    Raises:
        JobError: A filter names a column that is not there, or has a value it cannot compare.
    """
    parts = [_filter(table.column(f.column, "a row filter"), f) for f in filters]
    if bounds is not None:
        parts.extend(_bounds(bounds))
    parts.extend(extra)
    return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true")


def endless(column: SourceColumn) -> sql.Composable | None:
    """Returns the condition that a cursor is an infinity or NaN, None for types without them."""
    for family, (pattern, values) in _ENDLESS.items():
        if column.carried.name.startswith(family):
            return sql.SQL(pattern).format(sql.Identifier(column.name), values)  # pyright: ignore[reportArgumentType] - one of two constants
    return None


def cursor_range(
    table: SourceTable, cursor: SourceColumn, filters: Sequence[RowFilter]
) -> sql.Composed:
    """Returns the SELECT of one row with the fields of `CursorRange`."""
    name, condition = sql.Identifier(cursor.name), where(table, filters)
    is_endless = endless(cursor)
    finite = sql.SQL("NOT {}").format(is_endless) if is_endless else sql.SQL("true")
    never = sql.SQL("false")
    exists = sql.SQL("EXISTS (SELECT FROM {} WHERE {} AND {})")
    is_null = sql.SQL("{} IS NULL").format(name)
    return sql.SQL("SELECT (SELECT max({})::text FROM {} WHERE {} AND {}), {}, {}").format(
        name,
        table.identifier,
        condition,
        finite,
        exists.format(table.identifier, condition, is_null) if cursor.is_nullable else never,
        exists.format(table.identifier, condition, is_endless) if is_endless else never,
    )


def _bounds(bounds: CursorBounds) -> list[sql.Composable]:
    cursor = sql.Identifier(bounds.column)
    upper: sql.Composable = sql.SQL("{} <= {}").format(cursor, sql.Literal(bounds.upper))
    if bounds.endless is not None:
        upper = sql.SQL("({} OR {})").format(upper, bounds.endless)
    parts: list[sql.Composable] = [upper]
    if bounds.lower is not None:
        comparison = sql.SQL("{} >= {}" if bounds.is_lower_closed else "{} > {}")
        parts.append(comparison.format(cursor, sql.Literal(bounds.lower)))
    return parts


def _filter(column: SourceColumn, row_filter: RowFilter) -> sql.Composable:
    name = sql.Identifier(column.name)
    if row_filter.op in (FilterOperator.IN, FilterOperator.NOT_IN):
        return _membership(column, row_filter)
    if row_filter.value is None:
        return _null_comparison(name, row_filter)
    comparison = _COMPARISONS[row_filter.op]
    return sql.SQL("{} {} {}").format(name, comparison, _value(column, row_filter.value))


def _null_comparison(name: sql.Identifier, row_filter: RowFilter) -> sql.Composable:
    if row_filter.op is FilterOperator.EQ:
        return sql.SQL("{} IS NULL").format(name)
    if row_filter.op is FilterOperator.NE:
        return sql.SQL("{} IS NOT NULL").format(name)
    raise errors.invalid(
        f"The row filter on \"{row_filter.column}\" compares with null by '{row_filter.op}'; "
        "only 'eq' and 'ne' can.",
        "filters",
    )


def _membership(column: SourceColumn, row_filter: RowFilter) -> sql.Composable:
    if not isinstance(row_filter.value, list):
        raise errors.invalid(
            f"The row filter on \"{column.name}\" needs a list for '{row_filter.op}'.", "filters"
        )
    name = sql.Identifier(column.name)
    values = [_value(column, value) for value in row_filter.value if value is not None]
    has_null = len(values) < len(row_filter.value)
    is_in = row_filter.op is FilterOperator.IN
    parts: list[sql.Composable] = []
    if values:
        pattern = sql.SQL("{} IN ({})" if is_in else "{} NOT IN ({})")
        parts.append(pattern.format(name, sql.SQL(", ").join(values)))
    if has_null:
        parts.append(sql.SQL("{} IS NULL" if is_in else "{} IS NOT NULL").format(name))
    if not parts:
        return sql.SQL("false" if is_in else "true")
    return sql.SQL("({})").format(sql.SQL(" OR " if is_in else " AND ").join(parts))


def _value(column: SourceColumn, value: JsonValue) -> sql.Composable:
    """Returns a literal that PostgreSQL reads as a value of the column's type.

    Text becomes an untyped literal, which takes the column's type, whatever that is. Numbers
    stay numbers, so that `price > 0.1` compares exactly (a JSON number is read as a decimal).
    """
    if isinstance(value, str):
        return sql.Literal(value)
    if isinstance(value, bool):
        return sql.SQL("true" if value else "false")
    if isinstance(value, int | float):
        number = Decimal(repr(value))
        if column.source_type.startswith(_TEXTUAL):
            return sql.Literal(str(value))
        return sql.SQL("({})").format(sql.Literal(number))
    raise errors.invalid(
        f'The row filter on "{column.name}" has a value that is neither text, number, boolean '
        "nor null.",
        "filters",
    )


def _type(name: str) -> sql.SQL:
    # A type's name as `format_type` of the server itself wrote it; nothing a user typed.
    return sql.SQL(name)  # pyright: ignore[reportArgumentType]
