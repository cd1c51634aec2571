"""Creates, changes and deletes transformations; a model that dbt refuses is not saved."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.audit.service import AuditLog
from control_plane.connections.models import Connection
from control_plane.connections.service import ConnectionService
from control_plane.core.clock import utc_now
from control_plane.core.errors import Conflict, FieldError, Invalid, Unavailable
from control_plane.core.tasks import TaskFailed
from control_plane.core.usages import Usages
from control_plane.core.vault import Vault
from control_plane.transformations.column_tests import check_tests
from control_plane.transformations.dbt_tasks import DbtTasks, failure
from control_plane.transformations.models import Transformation
from control_plane.transformations.project import assemble, declared_tests, source_tables
from control_plane.transformations.references import names_model, names_table
from control_plane.transformations.repository import TransformationRepository
from control_plane.transformations.saving import check_parses
from control_plane.transformations.schemas import (
    ParsedProject,
    Preview,
    PreviewRequest,
    TransformationCreate,
    TransformationUpdate,
)
from control_plane.uploads.service import UploadService, tables_made_by
from datanika_manifest.connectors.base import Direction
from datanika_manifest.names import slugify
from datanika_manifest.transformations import Materialization, ProjectSource


class TransformationService:
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
        self._session = session
        self._caller = caller
        self._connections = connections
        self._uploads = uploads
        self._dbt = dbt
        self._audit: AuditLog = caller.audit(session)
        self._rows = TransformationRepository(session, caller.org_id)

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
        try:
            with self._session.begin_nested():
                self._rows.add(row)
        except IntegrityError:
            raise _name_taken(row.name, row.name) from None
        self._audit.record("create", "transformation", row.id, new=_audit_values(row))
        return row

    def update_transformation(
        self, transformation_id: int, body: TransformationUpdate
    ) -> Transformation:
        """Changes what `body` names, after dbt has parsed the project with it.

        Raises:
            NotFound: The org has no such transformation.
            Invalid: A field is wrong or dbt refuses the model.
            Conflict: The name is taken.
            Upstream: The task died or passed its deadline.
        """
        row = self._rows.get(transformation_id)
        old = _audit_values(row)
        # Written only once everything is checked.
        with self._session.no_autoflush:
            for name, value in body.model_dump(mode="json").items():
                if value is not None:
                    setattr(row, name, value)
            row.slug = slugify(row.name)
            if _audit_values(row) == old:
                return row
            connection = self._connections.get_connection(row.connection_id)
            self._check(row, connection, old_name=old["name"])
        try:
            with self._session.begin_nested():
                self._session.flush()
        except IntegrityError:
            raise _name_taken(row.name, row.name) from None
        self._audit.record("update", "transformation", row.id, old=old, new=_audit_values(row))
        return row

    def delete_transformation(self, transformation_id: int, usages: Usages) -> None:
        """Deletes a transformation softly; what it has made stays where it is.

        Raises:
            NotFound: The org has no such transformation.
            Conflict: Something still uses it; the detail names what.
        """
        row = self._rows.get(transformation_id)
        usages.refuse_if_used(
            self._session, self._caller.org_id, "transformation", row.id, row.name
        )
        row.deleted_at = utc_now()
        self._audit.record("delete", "transformation", row.id, old=_audit_values(row))

    def get_transformation(self, transformation_id: int) -> Transformation:
        """Returns a transformation.

        Raises:
            NotFound: The org has no such transformation.
        """
        return self._rows.get(transformation_id)

    def page_transformations(self, after_id: int | None, limit: int) -> Sequence[Transformation]:
        """Returns the transformations after `after_id`."""
        return self._rows.page_after(after_id, limit)

    def project_connections(self) -> Sequence[Connection]:
        """Returns the connections that have transformations, each with a dbt project."""
        return [self._connections.get_connection(id_) for id_ in self._rows.connection_ids()]

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
        other = self._rows.find_by_slug(connection.id, row.slug)
        if other is not None and other is not row:
            raise _name_taken(row.name, other.name)
        rows = self._rows.list_of_connection(connection.id)
        project = self._project(connection, rows if row in rows else [*rows, row])
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

    def _project(self, connection: Connection, rows: Sequence[Transformation]) -> ProjectSource:
        sources = source_tables(self._caller, connection, self._uploads)
        return assemble(self._caller, connection, rows, sources)

    def _connection(self, connection_id: int | None) -> Connection:
        if connection_id is None:
            warehouse = self._connections.find_managed_warehouse()
            if warehouse is None:
                raise Unavailable("The managed warehouse is not ready yet; try again in a moment.")
            return warehouse
        row = self._connections.find_connection(connection_id)
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


def transformations_using(
    session: Session, org_id: int, resource_type: str, resource_id: int
) -> Sequence[str]:
    """Names the models that use a connection, an upload's tables or a model, for `core.usages`."""
    rows = TransformationRepository(session, org_id)
    found: Sequence[Transformation] = []
    if resource_type == "connection":
        found = rows.list_of_connection(resource_id)
    elif resource_type == "upload":
        tables = tables_made_by(session, org_id, resource_id)
        found = [
            row
            for row in rows.list_all()
            for connection_id, schema, table in sorted(tables)
            if row.connection_id == connection_id and names_table(row, schema, table)
        ]
    elif resource_type == "transformation" and (model := rows.find(resource_id)) is not None:
        siblings = rows.list_of_connection(model.connection_id)
        found = [row for row in siblings if row is not model and names_model(row, model.name)]
    return list(dict.fromkeys(f"transformation '{row.name}'" for row in found))


def _audit_values(row: Transformation) -> dict[str, Any]:
    return {
        "name": row.name,
        "connection_id": row.connection_id,
        "schema": row.schema_name,
        "sql": row.sql,
        "materialization": row.materialization,
        "description": row.description,
        "tests": row.tests,
    }


def _name_taken(name: str, other: str) -> Conflict:
    return Conflict(
        f"'{name}' cannot be used: this connection has a transformation called '{other}' already, "
        "and names differ in more than case and punctuation.",
        errors=(FieldError("/name", "is taken"),),
    )
