"""Looks at what a connection's database has, and remembers it."""

from collections.abc import Sequence

from pydantic import ValidationError
from sqlalchemy.orm import Session

from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.connections.models import Connection
from control_plane.core.clock import utc_now
from control_plane.core.errors import NotFound, Upstream
from control_plane.core.tasks import TaskFailed
from control_plane.metadata.errors import DiscoveryFailed, SampleFailed
from control_plane.metadata.models import DiscoveredTable
from control_plane.metadata.repository import DiscoveredTableRepository
from control_plane.metadata.schemas import Discovery, Sample

DISCOVER_DEADLINE_SECONDS = 60
SAMPLE_DEADLINE_SECONDS = 30


class KnownTables:
    """What the last discoveries of one org's connections saw.

    Args:
        session: Inside the org.
        org_id: The org.
    """

    def __init__(self, session: Session, org_id: int) -> None:
        self._tables = DiscoveredTableRepository(session, org_id)

    def tables_of(self, connection_id: int, schema: str | None = None) -> Sequence[DiscoveredTable]:
        """Returns the known tables by name, those of one schema where it is given."""
        return self._tables.list_of(connection_id, schema)

    def find_table(self, connection_id: int, schema: str, table: str) -> DiscoveredTable | None:
        """Returns a known table, None where the last discovery did not see it."""
        return self._tables.find_table(connection_id, schema, table)

    def schemas_of(self, connection_id: int) -> Sequence[str]:
        """Returns the schemas in which tables are known; empty before the first discovery."""
        return self._tables.schemas_of(connection_id)

    def page_tables(
        self,
        connection_id: int,
        *,
        schema: str | None,
        name: str | None,
        after: tuple[str, str] | None,
        limit: int,
    ) -> Sequence[DiscoveredTable]:
        """Returns the known tables after `after` (schema, table), ordered by name."""
        return self._tables.page_of(
            connection_id, schema=schema, name=name, after=after, limit=limit
        )


class MetadataService(KnownTables):
    """The discovered tables of one org's connections, and their discovery.

    Args:
        session: Inside the org.
        org_id: The org.
        tasks: Where a database is looked at.
    """

    def __init__(self, session: Session, org_id: int, tasks: OrgTasks) -> None:
        super().__init__(session, org_id)
        self._tasks = tasks

    def sync_metadata(self, connection: Connection) -> int:
        """Looks at the database now, replaces what was known, and returns how many tables it has.

        Raises:
            DiscoveryFailed: The database cannot be read; the detail has the connection and why.
            Upstream: The task failed for a reason of our own or passed its deadline.
        """
        discovery = self._discover(connection)
        discovered_at = utc_now()
        rows = [
            {**table.model_dump(mode="json"), "discovered_at": discovered_at}
            for table in discovery.tables
        ]
        self._tables.replace(connection.id, rows)
        return len(rows)

    def sample(self, connection: Connection, schema: str, table: str, limit: int) -> Sample:
        """Returns the first rows of a table as they are now.

        Raises:
            NotFound: The database has no such table.
            SampleFailed: It cannot be read; the detail says why.
            Upstream: The task failed for a reason of our own or passed its deadline.
        """
        try:
            value = self._tasks.run(
                "sample",
                {"connection": connection.slug, "schema": schema, "table": table, "limit": limit},
                connection_ids=[connection.id],
                deadline_seconds=SAMPLE_DEADLINE_SECONDS,
            )
        except TaskFailed as error:
            if error.code == "sample.missing":
                raise NotFound(f"Connection '{connection.name}': {error.message}") from None
            detail = (
                f"'{schema}.{table}' of connection '{connection.name}' cannot be read: "
                f"{error.message} ({error.code})"
            )
            is_theirs = error.code.startswith(("connection.", "sample."))
            raise (SampleFailed if is_theirs else Upstream)(detail) from None
        try:
            return Sample.model_validate(value)
        except ValidationError:
            raise Upstream("The task 'sample' answered in a form that is not known.") from None

    def _discover(self, connection: Connection) -> Discovery:
        try:
            value = self._tasks.run(
                "discover",
                {"connection": connection.slug, "schema": None},
                connection_ids=[connection.id],
                deadline_seconds=DISCOVER_DEADLINE_SECONDS,
            )
        except TaskFailed as error:
            detail = (
                f"The tables of connection '{connection.name}' cannot be read: "
                f"{error.message} ({error.code})"
            )
            is_connections = error.code.startswith("connection.")
            raise (DiscoveryFailed if is_connections else Upstream)(detail) from None
        try:
            return Discovery.model_validate(value)
        except ValidationError:
            raise Upstream("The task 'discover' answered in a form that is not known.") from None
