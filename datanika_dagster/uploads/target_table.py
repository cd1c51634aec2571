"""The destination table of a copy: what is there, and how it has to change before rows arrive.

dlt makes missing tables and adds missing columns; it never looks at the type of a column that
exists. A binary copy needs equal types, so this module compares them and decides: cast in the
source (the destination is wider), widen the destination (the source has grown), or refuse by
name. Columns that the source has lost stay and are NULL in new rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from datanika_dagster.uploads import errors
from datanika_dagster.uploads.source_table import SourceColumn, SourceTable
from datanika_manifest.uploads import SchemaContract

_KIND = """
select c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
_COLUMNS = """
select a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull and not a.atthasdef and a.attidentity = ''
from pg_attribute a join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped
"""
_UNKNOWN_TYPES = "select asked from unnest(%s::text[]) asked where to_regtype(asked) is null"

_INTEGERS = ("smallint", "integer", "bigint")
_FLOATS = ("real", "double precision")
_NUMERIC = re.compile(r"numeric(?:\((\d+),(-?\d+)\))?$")
_VARCHAR = re.compile(r"character varying(?:\((\d+)\))?$")
# Decimal digits that each integer type can have.
_INTEGER_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}


@dataclass(frozen=True)
class ColumnCopy:
    """How one column is copied.

    Attributes:
        source: The source's column.
        target_type: Its type in the destination; the source casts it to that.
        alter_from: The destination's present type where that has to be widened first.
    """

    source: SourceColumn
    target_type: str
    alter_from: str | None = None


@dataclass(frozen=True)
class TargetPlan:
    """What is copied, and into what.

    Attributes:
        columns: The columns in the order of the copy.
        discarded: Columns that the schema contract leaves out.
        without_values_in: Columns whose rows the contract leaves out (`discard_row`).
        exists: Whether the destination table is already there.
    """

    columns: tuple[ColumnCopy, ...]
    discarded: tuple[str, ...] = ()
    without_values_in: tuple[str, ...] = ()
    exists: bool = False


def plan_target(
    connection: psycopg.Connection,
    schema: str,
    table: str,
    source: SourceTable,
    contract: SchemaContract,
) -> TargetPlan:
    """Compares the source table with the destination's.

    Args:
        connection: The destination.
        schema: The destination's schema; it need not exist.
        table: The destination's table; it need not exist.
        source: The source table.
        contract: What the upload allows to change.

    Raises:
        JobError: The destination is not a table, lacks a type, or its columns do not fit.
    """
    _require_types(connection, source)
    present = _present_columns(connection, schema, table, source)
    if present is None:
        if contract.tables != "evolve":
            raise errors.invalid(
                f'"{schema}"."{table}" is not in the destination yet, and the schema contract '
                "forbids new tables: load it once with `tables: evolve`.",
                "schema_contract",
            )
        return TargetPlan(
            tuple(ColumnCopy(column, column.carried.name) for column in source.columns)
        )
    planner = _Planner(source.name, present, contract)
    for column in source.columns:
        planner.add(column)
    return planner.plan()


class _Planner:
    def __init__(self, table: str, present: Mapping[str, str], contract: SchemaContract) -> None:
        self._table, self._present, self._contract = table, present, contract
        self._columns: list[ColumnCopy] = []
        self._discarded: list[str] = []
        self._rows_without: list[str] = []

    def add(self, column: SourceColumn) -> None:
        present = self._present.get(column.name)
        if present is None:
            self._new(column)
        elif present == column.carried.name or widens(column.carried.name, present):
            self._columns.append(ColumnCopy(column, present))
        else:
            self._changed(column, present)

    def plan(self) -> TargetPlan:
        return TargetPlan(
            tuple(self._columns), tuple(self._discarded), tuple(self._rows_without), exists=True
        )

    def _new(self, column: SourceColumn) -> None:
        if self._contract.columns == "evolve":
            self._columns.append(ColumnCopy(column, column.carried.name))
        else:
            self._apply(
                column, self._contract.columns, "is new, and the schema contract freezes columns"
            )

    def _changed(self, column: SourceColumn, present: str) -> None:
        wanted = column.carried.name
        change = f"is {wanted} in the source and {present} in the destination"
        if self._contract.data_type != "evolve":
            self._apply(column, self._contract.data_type, change)
        elif widens(present, wanted):
            self._columns.append(ColumnCopy(column, wanted, present))
        else:
            raise errors.refused_change(
                self._table, column.name, f"{change}: no conversion is lossless"
            )

    def _apply(self, column: SourceColumn, mode: str, change: str) -> None:
        if mode == "freeze":
            raise errors.refused_change(self._table, column.name, change)
        self._discarded.append(column.name)
        if mode == "discard_row":
            self._rows_without.append(column.name)


def require_exact_types(
    connection: psycopg.Connection, schema: str, table: str, columns: Sequence[ColumnCopy]
) -> None:
    """Checks that the destination's columns have the types that the stream will have.

    Binary values of another type of the same length would be taken without a word.

    Args:
        connection: The destination, in the transaction that holds a lock on the table.
        schema: The destination's schema.
        table: The destination's table.
        columns: What is copied.

    Raises:
        JobError: A column has another type than was planned.
    """
    rows = connection.execute(_COLUMNS, (schema, table)).fetchall()
    present = {name: type_name for name, type_name, _ in rows}
    for column in columns:
        found = present.get(column.source.name)
        if found != column.target_type:
            raise errors.refused_change(
                table, column.source.name, f"is {found}, not {column.target_type}: try again"
            )


def widens(narrow: str, wide: str) -> bool:
    """Tells whether every value of type `narrow` is exactly one of type `wide`."""
    for family in (_INTEGERS, _FLOATS):
        if narrow in family and wide in family:
            return family.index(narrow) < family.index(wide)
    if wide == "text":
        return _VARCHAR.match(narrow) is not None
    if (wide_varchar := _VARCHAR.match(wide)) and (varchar := _VARCHAR.match(narrow)):
        return _fits(varchar.group(1), wide_varchar.group(1))
    if wide_numeric := _NUMERIC.match(wide):
        return _fits_numeric(narrow, wide_numeric)
    return False


def _fits(narrow: str | None, wide: str | None) -> bool:
    return wide is None or (narrow is not None and int(narrow) <= int(wide))


def _fits_numeric(narrow: str, wide: re.Match[str]) -> bool:
    numeric = _NUMERIC.match(narrow)
    if narrow not in _INTEGERS and numeric is None:
        return False
    if wide.group(1) is None:
        return True
    digits, scale = int(wide.group(1)), int(wide.group(2))
    if numeric is None:
        return scale >= 0 and digits - scale >= _INTEGER_DIGITS[narrow]
    if numeric.group(1) is None:
        return False
    narrow_digits, narrow_scale = int(numeric.group(1)), int(numeric.group(2))
    return scale >= narrow_scale and digits - scale >= narrow_digits - narrow_scale


def _require_types(connection: psycopg.Connection, source: SourceTable) -> None:
    # Also keeps a forged type name of a hostile source out of the DDL: only types pass.
    names = sorted({column.carried.name for column in source.columns})
    row = connection.execute(_UNKNOWN_TYPES, (names,)).fetchone()
    if row is None:
        return
    for column in source.columns:
        if column.carried.name == row[0]:
            raise errors.refused_type(
                source.name, column.name, column.source_type, "the destination does not know it"
            )


def _present_columns(
    connection: psycopg.Connection, schema: str, table: str, source: SourceTable
) -> dict[str, str] | None:
    kind = connection.execute(_KIND, (schema, table)).fetchone()
    if kind is None:
        return None
    if kind[0] not in ("r", "p"):
        raise errors.invalid(
            f'"{schema}"."{table}" in the destination is a view, not a table.', "target_table"
        )
    rows = connection.execute(_COLUMNS, (schema, table)).fetchall()
    names = {column.name for column in source.columns}
    for name, _, is_required in rows:
        if is_required and name not in names:
            raise errors.refused_change(
                table, name, "is NOT NULL in the destination and not in the source"
            )
    return {name: type_name for name, type_name, _ in rows}
