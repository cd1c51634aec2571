"""The task `discover`: the tables, views and columns of a database.

The catalog is asked in three set queries, whatever the number of tables. Row estimates are the
planner's (`reltuples`), not counts; -1 there means "never analysed" and is given as null.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from datanika_dagster.connectors import errors
from datanika_dagster.connectors.registry import of_payload
from datanika_dagster.launcher.job import Job, Secrets

# Each of the queries; the task as a whole has a deadline too.
STATEMENT_TIMEOUT_MILLISECONDS = 30_000

_KINDS = {
    "r": "table",
    "p": "table",
    "v": "view",
    "m": "materialized_view",
    "f": "foreign_table",
}
# A partition is loaded with the table that it is a part of.
_RELATIONS = """
select c.oid, n.nspname, c.relname, c.relkind::text,
       case when c.reltuples >= 0 then c.reltuples::bigint end
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and (%(schema)s::text is null or n.nspname = %(schema)s)
  and has_schema_privilege(n.oid, 'USAGE')
  and (has_table_privilege(c.oid, 'SELECT') or has_any_column_privilege(c.oid, 'SELECT'))
order by n.nspname, c.relname
"""
_COLUMNS = """
select a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull
from pg_attribute a
where a.attrelid = any(%(oids)s) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
"""
_KEYS = """
select i.indrelid, a.attname
from pg_index i
cross join lateral unnest(i.indkey::int2[]) with ordinality k(attnum, position)
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indisprimary and i.indrelid = any(%(oids)s) and k.position <= i.indnkeyatts
order by i.indrelid, k.position
"""


def run(job: Job, payload: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    """Lists what the connection's role can read.

    Args:
        job: The channel to the caller.
        payload: `connection` (slug), `schema` (name, or None for all), `allowed_networks`,
            `refused_endpoints`.
        secrets: The credentials of that connection.

    Returns:
        `tables`, each with `schema`, `table`, `kind`, `row_estimate`, `columns` and
        `primary_key`.

    Raises:
        JobError: The connection fails, or the catalog cannot be read.
    """
    source = of_payload(secrets[payload["connection"]], payload)
    with source.connect() as connection:
        try:
            tables = discover_tables(connection, payload.get("schema"))
        except psycopg.errors.InsufficientPrivilege:
            raise errors.permission(f"The role '{source.user}' may not read the catalog.") from None
        except psycopg.errors.QueryCanceled:
            seconds = STATEMENT_TIMEOUT_MILLISECONDS / 1000
            raise errors.timeout(source.host, source.port, seconds) from None
    job.log("info", f"Found {len(tables)} tables and views")
    return {"tables": tables}


def discover_tables(connection: psycopg.Connection, schema: str | None) -> list[dict[str, Any]]:
    """Reads the catalog in one snapshot.

    Args:
        connection: A connection without an open transaction.
        schema: Only this schema; None for every one that is not PostgreSQL's own.
    """
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        connection.execute(
            "select set_config('statement_timeout', %s, true)",
            [str(STATEMENT_TIMEOUT_MILLISECONDS)],
        )
        relations = connection.execute(_RELATIONS, {"schema": schema}).fetchall()
        oids = {"oids": [row[0] for row in relations]}
        columns = _grouped(connection.execute(_COLUMNS, oids).fetchall())
        keys = _grouped(connection.execute(_KEYS, oids).fetchall())
    return [
        {
            "schema": namespace,
            "table": name,
            "kind": _KINDS[kind],
            "row_estimate": estimate,
            "columns": [
                {"name": column, "type": type_name, "nullable": nullable}
                for column, type_name, nullable in columns[oid]
            ],
            "primary_key": [column for (column,) in keys[oid]],
        }
        for oid, namespace, name, kind, estimate in relations
    ]


def _grouped(rows: Sequence[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    grouped: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for oid, *rest in rows:
        grouped[oid].append(tuple(rest))
    return grouped
