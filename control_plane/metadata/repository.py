"""Reads and replaces discovered tables."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, func, insert, select

from control_plane.metadata.models import DiscoveredTable
from control_plane.tenancy.repository import TenantRepository


class DiscoveredTableRepository(TenantRepository[DiscoveredTable]):
    """The discovered tables of one org."""

    model = DiscoveredTable
    noun = "table"

    def replace(self, connection_id: int, rows: Sequence[dict[str, Any]]) -> None:
        """Puts these rows in the place of all that the connection had."""
        # Two discoveries at the same time would insert the same names; the second one waits.
        lock = func.hashtextextended(f"discovered_tables:{self.org_id}:{connection_id}", 0)
        self.session.execute(select(func.pg_advisory_xact_lock(lock)))
        self.session.execute(
            delete(DiscoveredTable).where(
                DiscoveredTable.org_id == self.org_id,
                DiscoveredTable.connection_id == connection_id,
            )
        )
        if rows:
            owner = {"org_id": self.org_id, "connection_id": connection_id}
            self.session.execute(insert(DiscoveredTable), [{**owner, **row} for row in rows])

    def list_of(self, connection_id: int, schema: str | None) -> Sequence[DiscoveredTable]:
        """Returns a connection's tables by name, those of one schema where it is given."""
        statement = self._of(connection_id, schema).order_by(
            DiscoveredTable.schema_name, DiscoveredTable.table_name
        )
        return self.session.scalars(statement).all()

    def find_table(self, connection_id: int, schema: str, table: str) -> DiscoveredTable | None:
        """Returns the table with exactly this name."""
        return self.session.scalar(
            self._of(connection_id, schema).where(DiscoveredTable.table_name == table)
        )

    def schemas_of(self, connection_id: int) -> Sequence[str]:
        """Returns the names of the schemas that have tables."""
        statement = (
            select(DiscoveredTable.schema_name)
            .where(
                DiscoveredTable.org_id == self.org_id,
                DiscoveredTable.connection_id == connection_id,
            )
            .distinct()
            .order_by(DiscoveredTable.schema_name)
        )
        return self.session.scalars(statement).all()

    def page_of(
        self,
        connection_id: int,
        *,
        schema: str | None,
        name: str | None,
        after: tuple[str, str] | None,
        limit: int,
    ) -> Sequence[DiscoveredTable]:
        """Returns up to `limit` tables ordered by name.

        Args:
            connection_id: Whose tables.
            schema: Only this schema.
            name: Only tables whose name contains this, in any case.
            after: Schema and table of the last row of the page before.
            limit: How many rows.
        """
        names = (DiscoveredTable.schema_name, DiscoveredTable.table_name)
        statement = self._of(connection_id, schema).order_by(*names).limit(limit)
        if name:
            statement = statement.where(DiscoveredTable.table_name.icontains(name, autoescape=True))
        if after is not None:
            statement = statement.where(
                (names[0] > after[0]) | ((names[0] == after[0]) & (names[1] > after[1]))
            )
        return self.session.scalars(statement).all()

    def _of(self, connection_id: int, schema: str | None) -> Select[DiscoveredTable]:
        statement = self.base().where(DiscoveredTable.connection_id == connection_id)
        if schema is not None:
            statement = statement.where(DiscoveredTable.schema_name == schema)
        return statement
