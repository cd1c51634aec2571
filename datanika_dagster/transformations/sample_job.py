"""Job `sample`: the first rows of a table, a view or a model, as they are.

As the SELECT-only role where the connection has one, in a read-only transaction with a time limit.
"""

from typing import Any

import psycopg
from psycopg import sql
from pydantic import JsonValue

from datanika_dagster.launcher.job import Job, JobError, Secrets
from datanika_dagster.transformations import result_rows, warehouse

MAX_ROWS = 100
STATEMENT_TIMEOUT_SECONDS = 15.0
_MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)


def run(job: Job, payload: dict[str, Any], secrets: Secrets) -> JsonValue:
    """Returns the first rows of a table, in no particular order.

    Args:
        job: The channel to the caller.
        payload: `{"connection": slug, "schema", "table", "limit"}`, `allowed_networks`,
            `refused_endpoints`. Schema and table are exact names.
        secrets: The connection.

    Returns:
        `{"columns": [{"name", "type"}], "rows": [[value…]…], "is_cut"}`; see `result_rows`.

    Raises:
        JobError: `sample.missing`, `sample.failed`, or the database cannot be reached.
    """
    schema, table = payload["schema"], payload["table"]
    limit = min(max(int(payload.get("limit") or MAX_ROWS), 1), MAX_ROWS)
    reader = warehouse.endpoint(secrets[payload["connection"]], payload).as_reader()
    with warehouse.read_only(
        reader, statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS
    ) as session:
        query = sql.SQL("SELECT * FROM {} LIMIT {}").format(
            sql.Identifier(schema, table), sql.Literal(limit)
        )
        try:
            return result_rows.fetch(session, query.as_string(session), limit)
        except _MISSING:
            raise JobError("sample.missing", f"There is no table '{schema}.{table}'.") from None
        except psycopg.errors.QueryCanceled:
            raise JobError(
                "sample.failed", f"Its rows took longer than {STATEMENT_TIMEOUT_SECONDS:g} s."
            ) from None
        except psycopg.Error as error:
            message = error.diag.message_primary or "The rows cannot be read."
            raise JobError("sample.failed", message) from None
