"""Creates, changes and deletes uploads, and tells what their tables are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.audit.resources import ResourceService
from control_plane.audit.service import AuditLog
from control_plane.connections.models import Connection
from control_plane.connections.service import ConnectionService
from control_plane.core.errors import Conflict, FieldError
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.core.vault import Vault
from control_plane.metadata.service import KnownTables, MetadataService
from control_plane.tenancy.repository import Deleted
from control_plane.uploads.config import UploadConfig, parse_config, stored_form
from control_plane.uploads.errors import TargetConflict
from control_plane.uploads.models import Upload
from control_plane.uploads.placement import Placement, resolve_tables
from control_plane.uploads.repository import UploadRepository
from control_plane.uploads.schemas import UploadCreate, UploadUpdate
from control_plane.uploads.tables import ResolvedTable


class UploadService(ResourceService[Upload]):
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
        self._uploads = UploadRepository(session, org_id)
        super().__init__(self._uploads, audit)
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
        self._refuse_taken_name(row)
        row.config = self._placed(row, config)
        row.slug = self._uploads.free_slug(body.name, fallback="u")
        return self._create(row)

    def update_upload(
        self, upload_id: int, body: UploadUpdate, if_match: IfMatch = ANY_VERSION
    ) -> Upload:
        """Changes what `body` names; the slug stays.

        Raises:
            NotFound: The org has no such upload.
            PreconditionFailed: It is another version by now.
            Invalid: As when it is created.
            Conflict: The name, or one of the target tables, is taken.
            Upstream: The source had to be looked at and the task died.
        """
        given = body.model_dump(exclude={"config"}, exclude_none=True)
        if not body.model_fields_set - {"name"}:
            return self._update(self._lock(upload_id, if_match), given)
        row = self._uploads.get(upload_id)
        version = row.version
        if_match.require(version)
        config = parse_config(_changed_config(row.config, body.config))
        wanted = Upload(id=row.id, org_id=row.org_id, **{**_values(row), **given})
        self._refuse_taken_name(wanted)
        wanted.config = self._placed(wanted, config)
        return self._update(self._lock_checked(row.id, version, if_match), _values(wanted))

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

    def _placed(self, row: Upload, config: UploadConfig) -> dict[str, Any]:
        """Returns the configuration to store, once its connections and the source are checked."""
        others = [
            other
            for other in self._uploads.list_into(row.destination_connection_id)
            if other.id != row.id
        ]
        return stored_form(self._placement.check(row, config, others))

    def _refuse_taken_name(self, row: Upload) -> None:
        other = self._uploads.find_by_name(row.name)
        if other is not None and other.id != row.id:
            raise self._taken(row, row.name)

    def _check_restorable(self, row: Upload) -> None:
        self._refuse_taken_name(row)
        self._placement.require_connections(row, hold=False)
        self._placed(row, self.config_of(row))

    def _hold_references(self, row: Upload) -> None:
        self._placement.require_connections(row, hold=True)

    def _audit_values(self, row: Upload) -> dict[str, Any]:
        return _values(row)

    def _taken(self, row: Upload, name: str) -> Conflict:
        return Conflict(
            f"There is an upload called '{name}' already.",
            errors=(FieldError("/name", "is taken"),),
        )


def require_live_upload(session: Session, org_id: int, upload_id: int, *, hold: bool) -> Upload:
    """Returns an upload that something refers to, with `hold` so that nobody deletes it.

    Raises:
        Conflict: It is deleted; the detail names it.
    """
    return UploadRepository(session, org_id).require_live(upload_id, hold=hold)


def select_deleted_uploads(session: Session, org_id: int) -> Deleted:
    """Returns the select of an org's deleted uploads."""
    return UploadRepository(session, org_id).select_deleted()


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


def _values(row: Upload) -> dict[str, Any]:
    return {
        "name": row.name,
        "source_connection_id": row.source_connection_id,
        "destination_connection_id": row.destination_connection_id,
        "config": row.config,
    }
