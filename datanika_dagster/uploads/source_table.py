"""What one source table looks like at the moment it is copied, and what its copy will look like."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from datanika_dagster.uploads import errors
from datanika_dagster.uploads.carried_types import CarriedType, TypeCatalog, UncarriableTypeError

LOAD_ID_COLUMN = "_dlt_load_id"

# relkinds: table, partitioned table, view, materialized view, foreign table
_RELATION = """
select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
select a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull
from pg_attribute a
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""
_PRIMARY_KEY = """
select a.attname from pg_index i
cross join lateral unnest(i.indkey::int2[]) with ordinality k(attnum, position)
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = %s and i.indisprimary and k.position <= i.indnkeyatts
order by k.position
"""


@dataclass(frozen=True)
class SourceColumn:
    """One column.

    Attributes:
        name: Its exact name.
        source_type: Its type in the source, as `format_type` writes it.
        carried: What it becomes.
        is_nullable: Whether the source lets it be NULL.
    """

    name: str
    source_type: str
    carried: CarriedType
    is_nullable: bool


@dataclass(frozen=True)
class SourceTable:
    """One table or view of the source.

    Attributes:
        schema: Its schema.
        name: Its name.
        columns: What is copied of it.
        primary_key: The columns of its primary key, in the key's order.
        is_itself_loaded: Whether it has a load id from an earlier load, which is not copied:
            the copy's rows carry the id of the load that brought them here.
    """

    schema: str
    name: str
    columns: tuple[SourceColumn, ...]
    primary_key: tuple[str, ...]
    is_itself_loaded: bool = False

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)

    def column(self, name: str, purpose: str) -> SourceColumn:
        """Returns the column `name`.

        Args:
            name: Its exact name.
            purpose: Who names it, for the error.

        Raises:
            JobError: `upload.column_missing`.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise errors.missing_column(self.name, name, purpose)


def read_source_table(connection: psycopg.Connection, schema: str, name: str) -> SourceTable:
    """Looks a table up in the source's catalog.

    Args:
        connection: The source, in the transaction that will also copy.
        schema: The table's schema, exactly as it is spelt there.
        name: The table's name, likewise.

    Raises:
        JobError: The table is missing or empty of columns, or a column cannot be carried.
    """
    relation = connection.execute(_RELATION, (schema, name)).fetchone()
    if relation is None:
        raise errors.missing_table(schema, name)
    rows = connection.execute(_COLUMNS, relation).fetchall()
    copied = [row for row in rows if row[0] != LOAD_ID_COLUMN]
    if not copied:
        raise errors.invalid(f'The source table "{schema}"."{name}" has no columns.', name)
    catalog = TypeCatalog(connection, [(row[1], row[2]) for row in copied])
    key = connection.execute(_PRIMARY_KEY, relation).fetchall()
    return SourceTable(
        schema=schema,
        name=name,
        columns=tuple(_column(name, catalog, row) for row in copied),
        primary_key=tuple(column for (column,) in key),
        is_itself_loaded=len(copied) < len(rows),
    )


def _column(table: str, catalog: TypeCatalog, row: tuple[str, int, int, str, bool]) -> SourceColumn:
    name, oid, typmod, type_name, not_null = row
    try:
        carried = catalog.carried(oid, typmod)
    except UncarriableTypeError as error:
        raise errors.refused_type(table, name, type_name, str(error)) from None
    return SourceColumn(name, type_name, carried, not not_null)
