"""Creates, changes and deletes uploads, and tells what their tables are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.audit.service import AuditLog
from control_plane.connections.models import Connection
from control_plane.connections.service import ConnectionService
from control_plane.core.clock import utc_now
from control_plane.core.errors import Conflict, FieldError
from control_plane.core.usages import Usages
from control_plane.core.vault import Vault
from control_plane.metadata.service import KnownTables, MetadataService
from control_plane.uploads.config import UploadConfig, parse_config, stored_form
from control_plane.uploads.errors import TargetConflict
from control_plane.uploads.models import Upload
from control_plane.uploads.placement import Placement, resolve_tables
from control_plane.uploads.repository import UploadRepository
from control_plane.uploads.schemas import UploadCreate, UploadUpdate
from control_plane.uploads.tables import ResolvedTable


class UploadService:
    """The uploads of one org.

    Args:
        session: Inside the org.
        org_id: The org.
        connections: The org's connections.
        metadata: What their databases have.
        audit: Where changes are recorded.
    """

    def __init__(
        self,
        session: Session,
        org_id: int,
        connections: ConnectionService,
        metadata: MetadataService,
        audit: AuditLog,
    ) -> None:
        self._session = session
        self._org_id = org_id
        self._audit = audit
        self._uploads = UploadRepository(session, org_id)
        self._metadata = metadata
        self._placement = Placement(connections, metadata)

    @classmethod
    def of(cls, session: Session, caller: Caller, vault: Vault, tasks: OrgTasks) -> "UploadService":
        """Makes the service of the caller's org."""
        return cls(
            session,
            caller.org_id,
            ConnectionService.of(session, caller, vault),
            MetadataService(session, caller.org_id, tasks),
            caller.audit(session),
        )

    def create_upload(self, body: UploadCreate) -> Upload:
        """Creates an upload after comparing it with what the source has.

        Raises:
            Invalid: A field that is wrong, unknown or not known yet, a connection that is not
                there or faces the wrong way, a name that the source does not have.
            Conflict: The name, or one of the target tables, is taken.
            Upstream: The source had to be looked at and the task died.
        """
        config = parse_config(body.config)
        row = Upload(
            org_id=self._org_id,
            name=body.name,
            source_connection_id=body.source_connection_id,
            destination_connection_id=body.destination_connection_id,
        )
        self._refuse_taken_name(body.name)
        self._place(row, config)
        row.slug = self._uploads.free_slug(body.name, fallback="u")
        try:
            with self._session.begin_nested():
                self._uploads.add(row)
        except IntegrityError:
            raise _name_taken(body.name) from None
        self._audit.record("create", "upload", row.id, new=_audit_values(row))
        return row

    def update_upload(self, upload_id: int, body: UploadUpdate) -> Upload:
        """Changes what `body` names; the slug stays.

        Raises:
            NotFound: The org has no such upload.
            Invalid: As when it is created.
            Conflict: The name, or one of the target tables, is taken.
            Upstream: The source had to be looked at and the task died.
        """
        row = self._uploads.get(upload_id)
        old = _audit_values(row)
        if body.name is not None and body.name != row.name:
            self._refuse_taken_name(body.name)
            row.name = body.name
        row.source_connection_id = body.source_connection_id or row.source_connection_id
        row.destination_connection_id = (
            body.destination_connection_id or row.destination_connection_id
        )
        if body.model_fields_set - {"name"}:
            self._place(row, parse_config(_changed_config(row.config, body.config)))
        try:
            with self._session.begin_nested():
                self._session.flush()
        except IntegrityError:
            raise _name_taken(row.name) from None
        self._audit.record("update", "upload", row.id, old=old, new=_audit_values(row))
        return row

    def delete_upload(self, upload_id: int, usages: Usages) -> None:
        """Deletes an upload softly; what it has loaded stays where it is.

        Raises:
            NotFound: The org has no such upload.
            Conflict: Something still uses it; the detail names what.
        """
        row = self._uploads.get(upload_id)
        usages.refuse_if_used(self._session, self._org_id, "upload", row.id, row.name)
        row.deleted_at = utc_now()
        self._audit.record("delete", "upload", row.id, old=_audit_values(row))

    def get_upload(self, upload_id: int) -> Upload:
        """Returns an upload.

        Raises:
            NotFound: The org has no such upload.
        """
        return self._uploads.get(upload_id)

    def list_uploads(self) -> Sequence[Upload]:
        """Returns every live upload."""
        return self._uploads.list_all()

    def page_uploads(self, after_id: int | None, limit: int) -> Sequence[Upload]:
        """Returns the uploads after `after_id`."""
        return self._uploads.page_after(after_id, limit)

    def config_of(self, upload: Upload) -> UploadConfig:
        """Returns an upload's configuration; `target_schema` is always set."""
        return UploadConfig.model_validate(upload.config)

    def target_schema_of(self, upload: Upload) -> str:
        """Returns the schema that an upload loads into."""
        schema: str = upload.config["target_schema"]
        return schema

    def resolve_tables(self, upload: Upload) -> list[ResolvedTable]:
        """Returns the tables that an upload loads, as its source is known now.

        Raises:
            Conflict: Two source tables would become the same target table.
        """
        return resolve_tables(self._metadata, upload)

    def uploads_into(self, connection: Connection) -> Sequence[Upload]:
        """Returns the live uploads whose destination is this connection."""
        return self._uploads.list_into(connection.id)

    def _place(self, row: Upload, config: UploadConfig) -> None:
        """Checks the connections and the source, and fills in the row's configuration.

        A row that is not added yet must not be written by the queries of these checks.
        """
        with self._session.no_autoflush:
            others = [
                other
                for other in self._uploads.list_into(row.destination_connection_id)
                if other is not row
            ]
            row.config = stored_form(self._placement.check(row, config, others))

    def _refuse_taken_name(self, name: str) -> None:
        if self._uploads.find_by_name(name) is not None:
            raise _name_taken(name)


def find_upload(session: Session, org_id: int, upload_id: int) -> Upload | None:
    """Returns a live upload of the org, None where it has none with that id."""
    return UploadRepository(session, org_id).find(upload_id)


def list_uploads(session: Session, org_id: int) -> Sequence[Upload]:
    """Returns every live upload of the org."""
    return UploadRepository(session, org_id).list_all()


def uploads_using(
    session: Session, org_id: int, resource_type: str, resource_id: int
) -> Sequence[str]:
    """Names the uploads of a connection, for `core.usages`."""
    if resource_type != "connection":
        return []
    rows = UploadRepository(session, org_id).list_of_connection(resource_id)
    return [f"upload '{row.name}'" for row in rows]


def tables_made_by(session: Session, org_id: int, upload_id: int) -> set[tuple[int, str, str]]:
    """Returns what an upload makes: destination connection's id, schema and table.

    Empty where the org has no such upload, also for one whose tables cannot be told apart.
    """
    row = UploadRepository(session, org_id).find(upload_id)
    if row is None:
        return set()
    try:
        tables = resolve_tables(KnownTables(session, org_id), row)
    except TargetConflict:
        return set()
    schema: str = row.config["target_schema"]
    return {(row.destination_connection_id, schema, table.target_table) for table in tables}


def _changed_config(old: dict[str, Any], new: dict[str, Any] | None) -> dict[str, Any]:
    if new is not None and "mode" in new:
        return new
    merged = {**old, **(new or {})}
    return {key: value for key, value in merged.items() if value is not None}


def _audit_values(row: Upload) -> dict[str, Any]:
    return {
        "name": row.name,
        "source_connection_id": row.source_connection_id,
        "destination_connection_id": row.destination_connection_id,
        "config": row.config,
    }


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"There is an upload called '{name}' already.", errors=(FieldError("/name", "is taken"),)
    )
