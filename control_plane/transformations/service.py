"""Creates, changes and deletes transformations; a model that dbt refuses is not saved."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.audit.resources import ResourceService
from control_plane.connections.models import Connection
from control_plane.connections.service import ConnectionService
from control_plane.core.errors import Conflict, FieldError, Invalid, Unavailable
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.core.tasks import TaskFailed
from control_plane.core.vault import Vault
from control_plane.tenancy.repository import Deleted
from control_plane.transformations.column_tests import check_tests
from control_plane.transformations.dbt_tasks import DbtTasks, failure
from control_plane.transformations.models import Transformation
from control_plane.transformations.project import assemble, declared_tests, source_tables
from control_plane.transformations.repository import TransformationRepository
from control_plane.transformations.saving import check_parses
from control_plane.transformations.schemas import (
    ParsedProject,
    Preview,
    PreviewRequest,
    TransformationCreate,
    TransformationUpdate,
)
from control_plane.uploads.service import UploadService
from datanika_manifest.connectors.base import Direction
from datanika_manifest.names import slugify
from datanika_manifest.transformations import Materialization, ProjectSource


class TransformationService(ResourceService[Transformation]):
    """The transformations of one org.

    Args:
        session: Inside the org.
        caller: In whose name; the org is the caller's.
        connections: The org's connections.
        uploads: The org's uploads, whose tables models select from.
        dbt: Parses projects and previews queries.
    """

    def __init__(
        self,
        session: Session,
        caller: Caller,
        connections: ConnectionService,
        uploads: UploadService,
        dbt: DbtTasks,
    ) -> None:
        self._rows = TransformationRepository(session, caller.org_id)
        super().__init__(self._rows, caller.audit(session))
        self._caller = caller
        self._connections = connections
        self._uploads = uploads
        self._dbt = dbt

    @classmethod
    def of(
        cls, session: Session, caller: Caller, vault: Vault, dbt: DbtTasks
    ) -> "TransformationService":
        """Makes the service of the caller's org."""
        return cls(
            session,
            caller,
            ConnectionService.of(session, caller, vault),
            UploadService.of(session, caller, vault, dbt.tasks),
            dbt,
        )

    def create_transformation(self, body: TransformationCreate) -> Transformation:
        """Creates a transformation after dbt has parsed the project with it.

        Raises:
            Invalid: A field is wrong or dbt refuses the model.
            Conflict: The name is taken.
            Unavailable: There is no managed warehouse yet.
            Upstream: The task died or passed its deadline.
        """
        connection = self._connection(body.connection_id)
        row = Transformation(
            org_id=self._caller.org_id,
            connection_id=connection.id,
            name=body.name,
            slug=slugify(body.name),
            schema_name=body.schema_name,
            sql=body.sql,
            materialization=body.materialization.value,
            description=body.description,
            tests=[test.model_dump(mode="json") for test in body.tests],
        )
        self._check(row, connection, old_name=None)
        return self._create(row)

    def update_transformation(
        self,
        transformation_id: int,
        body: TransformationUpdate,
        if_match: IfMatch = ANY_VERSION,
    ) -> Transformation:
        """Changes what `body` names, after dbt has parsed the project with it.

        Raises:
            NotFound: The org has no such transformation.
            PreconditionFailed: It is another version by now.
            Invalid: A field is wrong or dbt refuses the model.
            Conflict: The name is taken, or somebody else has changed it while dbt parsed.
            Upstream: The task died or passed its deadline.
        """
        row = self._rows.get(transformation_id)
        version = row.version
        if_match.require(version)
        old = _values(row)
        values = {**old, **body.model_dump(mode="json", exclude_none=True)}
        values["slug"] = slugify(values["name"])
        if values == old:
            return row
        wanted = Transformation(id=row.id, org_id=row.org_id, **values)
        connection = self._connections.get(row.connection_id)
        self._check(wanted, connection, old_name=row.name)
        return self._update(self._lock_checked(row.id, version, if_match), values)

    def project_connections(self) -> Sequence[Connection]:
        """Returns the connections that have transformations, each with a dbt project."""
        return [self._connections.get(id_) for id_ in self._rows.connection_ids()]

    def project_source(self, connection: Connection) -> ProjectSource:
        """Returns what the connection's dbt project is generated from.

        Raises:
            Conflict: Two tables of an upload would become the same target table.
        """
        return self._project(connection, self._rows.list_of_connection(connection.id))

    def parse_project(self, connection: Connection) -> ParsedProject:
        """Parses the connection's project and keeps it in the projects directory.

        Raises:
            Invalid: dbt refuses it; the detail names the model.
            Upstream: The task died or passed its deadline.
        """
        try:
            return self._dbt.parse(connection, self.project_source(connection))
        except TaskFailed as error:
            raise failure(connection, error, f"/transformations/{error.field or ''}") from None

    def preview(self, body: PreviewRequest) -> Preview:
        """Returns the first rows of a query, with the models of the connection's project.

        Raises:
            Invalid: The query does not compile or the warehouse refuses it.
            Unavailable: There is no managed warehouse yet.
            Upstream: The warehouse cannot be reached, or the task died.
        """
        connection = self._connection(body.connection_id)
        project = self.project_source(connection)
        return self._dbt.preview(connection, project, body.sql, body.limit)

    def _check(self, row: Transformation, connection: Connection, old_name: str | None) -> None:
        """Checks a model that is not saved yet, or the saved one that it takes the place of."""
        other = self._rows.find_by_slug(connection.id, row.slug)
        if other is not None and other.id != row.id:
            raise self._taken(row, row.name, other.name)
        rows = [one for one in self._rows.list_of_connection(connection.id) if one.id != row.id]
        in_order = sorted([*rows, row], key=lambda one: one.id or float("inf"))
        project = self._project(connection, in_order)
        tables = {f"{source.schema_name}.{source.table}" for source in project.sources}
        if f"{row.schema_name}.{row.slug}" in tables:
            raise Invalid.field(
                "/name", f"an upload loads the table '{row.schema_name}.{row.slug}' already"
            )
        check_tests(
            declared_tests(row),
            Materialization(row.materialization),
            tables | {model.name for model in project.models},
        )
        check_parses(self._dbt, connection, project, name=row.name, old_name=old_name)

    def _check_restorable(self, row: Transformation) -> None:
        connection = self._connections.require_live(row.connection_id, hold=False)
        self._check(row, connection, old_name=None)

    def _hold_references(self, row: Transformation) -> None:
        self._connections.require_live(row.connection_id, hold=True)

    def _audit_values(self, row: Transformation) -> dict[str, Any]:
        values = _values(row)
        del values["slug"]
        return {"schema": values.pop("schema_name"), **values}

    def _taken(self, row: Transformation, name: str, other: str | None = None) -> Conflict:
        return Conflict(
            f"'{name}' cannot be used: this connection has a transformation called "
            f"'{other or name}' already, and names differ in more than case and punctuation.",
            errors=(FieldError("/name", "is taken"),),
        )

    def _project(self, connection: Connection, rows: Sequence[Transformation]) -> ProjectSource:
        sources = source_tables(self._caller, connection, self._uploads)
        return assemble(self._caller, connection, rows, sources)

    def _connection(self, connection_id: int | None) -> Connection:
        if connection_id is None:
            warehouse = self._connections.find_managed_warehouse()
            if warehouse is None:
                raise Unavailable("The managed warehouse is not ready yet; try again in a moment.")
            return warehouse
        row = self._connections.find(connection_id)
        if row is None:
            raise Invalid.field("/connection_id", f"There is no connection {connection_id}.")
        if row.direction not in {Direction.DESTINATION, Direction.BOTH}:
            raise Invalid.field(
                "/connection_id",
                f"The connection '{row.name}' has the direction '{row.direction}'; models need a "
                "destination; allowed: destination, both.",
            )
        return row


def find_transformation(
    session: Session, org_id: int, transformation_id: int
) -> Transformation | None:
    """Returns a live transformation of the org, None where it has none with that id."""
    return TransformationRepository(session, org_id).find(transformation_id)


def require_live_transformation(
    session: Session, org_id: int, transformation_id: int, *, hold: bool
) -> Transformation:
    """Returns a model that something refers to, with `hold` so that nobody deletes it.

    Raises:
        Conflict: It is deleted; the detail names it.
    """
    return TransformationRepository(session, org_id).require_live(transformation_id, hold=hold)


def select_deleted_transformations(session: Session, org_id: int) -> Deleted:
    """Returns the select of an org's deleted transformations."""
    return TransformationRepository(session, org_id).select_deleted()


def _values(row: Transformation) -> dict[str, Any]:
    return {
        "name": row.name,
        "slug": row.slug,
        "connection_id": row.connection_id,
        "schema_name": row.schema_name,
        "sql": row.sql,
        "materialization": row.materialization,
        "description": row.description,
        "tests": row.tests,
    }
