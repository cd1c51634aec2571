"""How many rows a freshly built view returns.

dbt knows the rows that it writes, but a view writes none. Counting costs a query, so it has a
time limit after which the number stays unknown; nothing depends on it.
"""

import psycopg
from psycopg import sql

from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.launcher.job import JobError
from datanika_dagster.transformations import warehouse
from datanika_manifest.transformations import DbtNode

TIMEOUT_SECONDS = 5.0


class RowCounter:
    """Counts in the warehouse, in read-only transactions of the role that built the view."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def count(self, node: DbtNode) -> int | None:
        """Returns the number of rows, None where it could not be known in time."""
        _, _, schema, _ = node.asset_key
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, node.name))
        try:
            with warehouse.read_only(
                self._endpoint, statement_timeout_seconds=TIMEOUT_SECONDS
            ) as session:
                row = session.execute(query).fetchone()
        except (JobError, psycopg.Error):
            return None
        return row[0] if row else None
