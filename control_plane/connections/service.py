"""Creates, changes and deletes connections; encrypts their secrets and hands them to tasks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.audit.resources import ResourceService
from control_plane.audit.service import AuditLog
from control_plane.connections.config import (
    check_direction,
    get_declaration,
    needs_secrets,
    refuse_secrets_elsewhere,
    split_config,
)
from control_plane.connections.models import Connection
from control_plane.connections.repository import ConnectionRepository
from control_plane.connections.schemas import (
    ConnectionCreate,
    ConnectionUpdate,
    ConnectionView,
    RedeemedConnection,
)
from control_plane.core.errors import Conflict, FieldError, InvalidState
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.core.vault import Vault
from control_plane.tenancy.errors import KeysDestroyed
from control_plane.tenancy.repository import Deleted
from control_plane.tenancy.secrets import OrgSecrets
from datanika_manifest.connectors.base import Direction
from datanika_manifest.connectors.registry import CONNECTORS


class ConnectionService(ResourceService[Connection]):
    """The connections of one org.

    Args:
        session: Inside the org.
        org_id: The org.
        vault: Encrypts and decrypts the secrets.
        audit: Where changes are recorded.
    """

    def __init__(self, session: Session, org_id: int, vault: Vault, audit: AuditLog) -> None:
        self._connections = ConnectionRepository(session, org_id)
        super().__init__(self._connections, audit)
        self._secrets = OrgSecrets(session, org_id, vault)

    @classmethod
    def of(cls, session: Session, caller: Caller, vault: Vault) -> "ConnectionService":
        """Makes the service of the caller's org."""
        return cls(session, caller.org_id, vault, caller.audit(session))

    def create_connection(self, body: ConnectionCreate) -> Connection:
        """Creates a connection that the user describes.

        Raises:
            Invalid: Unknown connector, wrong direction or settings.
            Conflict: The name is taken.
        """
        declaration = get_declaration(body.connector)
        check_direction(declaration, body.direction)
        split = split_config(declaration, body.config)
        row = Connection(
            org_id=self._org_id,
            slug=self._connections.free_slug(body.name, fallback="c", reserved=["warehouse"]),
            name=body.name,
            connector=body.connector,
            direction=body.direction,
            config=split.public,
        )
        self._create(row)
        self._secrets.store(row, split.secrets)
        return row

    def save_managed_warehouse(self, config: dict[str, Any]) -> Connection:
        """Stores where the provisioner put the org's warehouse and its fresh passwords."""
        declaration = CONNECTORS["managed_warehouse"]
        split = split_config(declaration, config)
        row = self._connections.find_managed_warehouse()
        if row is None:
            row = Connection(
                org_id=self._org_id,
                slug="warehouse",
                name="warehouse",
                connector=declaration.kind,
                direction=Direction.BOTH,
                config=split.public,
            )
            self._connections.add(row)
        row = self._connections.lock(row.id)
        row.config = split.public
        self._secrets.store(row, split.secrets)
        self._audit.record("create", "warehouse", row.id)
        return row

    def update_connection(
        self, connection_id: int, body: ConnectionUpdate, if_match: IfMatch = ANY_VERSION
    ) -> Connection:
        """Changes what `body` names.

        Raises:
            NotFound: The org has no such connection.
            PreconditionFailed: It is another version by now.
            InvalidState: It is the managed warehouse.
            Invalid: Wrong direction or settings.
            Conflict: The name is taken.
        """
        row = self._lock(connection_id, if_match)
        declaration = get_declaration(row.connector)
        values = body.model_dump(mode="json", include={"name", "direction"}, exclude_none=True)
        if body.direction is not None:
            check_direction(declaration, body.direction)
        if body.config is None:
            return self._update(row, values)
        refuse_secrets_elsewhere(declaration, row.config, body.config)
        # Not `secrets_of`: destroyed ones are given anew here.
        secrets = self._secrets.read(row)
        split = split_config(declaration, {**row.config, **secrets, **body.config})
        values["config"] = split.public
        if split.secrets == secrets:
            return self._update(row, values)
        return self._update(row, values, lambda: self._secrets.store(row, split.secrets))

    def find_managed_warehouse(self) -> Connection | None:
        """Returns the org's managed warehouse, once it is provisioned."""
        return self._connections.find_managed_warehouse()

    def secrets_of(self, row: Connection) -> dict[str, str]:
        """Decrypts a connection's secrets.

        Raises:
            Sealed: The keys that were given do not open them.
            KeysDestroyed: They were erased, and nobody has given them again.
        """
        self.refuse_destroyed(row)
        return self._secrets.read(row)

    def refuse_destroyed(self, row: Connection) -> None:
        """Refuses a connection whose secrets were erased with its org.

        Raises:
            KeysDestroyed: They were, and nobody has given them again.
        """
        declaration = CONNECTORS[row.connector]
        if row.secrets is not None or not needs_secrets(declaration):
            return
        hope = (
            "the platform is making new ones"
            if declaration.is_managed
            else f"give {', '.join(sorted(declaration.secret_fields()))} again"
        )
        raise KeysDestroyed(
            f"The secrets of the connection '{row.name}' were destroyed with the organization's "
            f"keys; {hope}."
        )

    def redeem_connections(self, connection_ids: Sequence[int]) -> dict[str, RedeemedConnection]:
        """Returns connections with their secrets, by slug, for the holder of a task token.

        Raises:
            Sealed: The keys that were given do not open them.
        """
        return {
            row.slug: RedeemedConnection(
                connector=row.connector, config={**row.config, **self.secrets_of(row)}
            )
            for row in self._connections.list_by_ids(connection_ids)
        }

    def view(self, row: Connection) -> ConnectionView:
        """Returns what may be shown of a connection."""
        return ConnectionView(
            id=row.id,
            slug=row.slug,
            name=row.name,
            connector=row.connector,
            direction=Direction(row.direction),
            config=row.config,
            secrets_set=_secrets_set(row),
            version=row.version,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def _refuse_change(self, row: Connection) -> None:
        if CONNECTORS[row.connector].is_managed:
            raise InvalidState("The managed warehouse is the platform's to change.")

    def _audit_values(self, row: Connection) -> dict[str, Any]:
        return {"name": row.name, "direction": row.direction, "config": row.config}

    def _taken(self, row: Connection, name: str) -> Conflict:
        return Conflict(
            f"There is a connection called '{name}' already.",
            errors=(FieldError("/name", "is taken"),),
        )


def select_deleted_connections(session: Session, org_id: int) -> Deleted:
    """Returns the select of an org's deleted connections."""
    return ConnectionRepository(session, org_id).select_deleted()


def _secrets_set(row: Connection) -> list[str]:
    stored = CONNECTORS[row.connector].secrets_stored_with(row.config)
    return sorted(stored) if row.secrets else []
