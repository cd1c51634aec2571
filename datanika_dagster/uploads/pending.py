"""The record of loads that were copied and that dlt has not recorded as complete yet.

It is written in the transaction of the copy and removed in the one of dlt's own record, so its
rows are exactly the loads whose rows must go before the table is appended to again. That dlt has
no record of a load says less: somebody may have tidied `_dlt_loads`, and another upload into the
same table may be between its copy and its record.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from datanika_dagster.uploads.source_table import LOAD_ID_COLUMN

TABLE = "_datanika_pending_loads"
COLUMNS = "load_id text NOT NULL, upload text NOT NULL, table_name text NOT NULL"


@dataclass(frozen=True)
class Load:
    """One load of one table.

    Attributes:
        id: dlt's id of it.
        upload: The upload, with its org.
        schema: The destination's schema.
        table: The destination's table.
    """

    id: str
    upload: str
    schema: str
    table: str

    @property
    def _pending(self) -> sql.Identifier:
        return sql.Identifier(self.schema, TABLE)

    def begin(self, destination: psycopg.Connection) -> None:
        """Records the load as copied but not complete, in the copy's transaction."""
        destination.execute(
            sql.SQL("INSERT INTO {} (load_id, upload, table_name) VALUES (%s, %s, %s)").format(
                self._pending
            ),
            (self.id, self.upload, self.table),
        )

    def purge_unfinished(self, destination: psycopg.Connection) -> None:
        """Deletes the rows of earlier loads of this upload that were killed before their record.

        The lock waits for a killed load's own transaction, should its server process still be
        ending; readers are not blocked by it.
        """
        table = sql.Identifier(self.schema, self.table)
        destination.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
        unfinished = destination.execute(
            sql.SQL(
                "DELETE FROM {} WHERE upload = %s AND table_name = %s RETURNING load_id"
            ).format(self._pending),
            (self.upload, self.table),
        ).fetchall()
        if unfinished:
            destination.execute(
                sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(
                    table, sql.Identifier(LOAD_ID_COLUMN)
                ),
                ([load_id for (load_id,) in unfinished],),
            )
