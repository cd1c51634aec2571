"""Creates, changes and deletes connections; encrypts their secrets and hands them to tasks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.audit.service import AuditLog
from control_plane.connections.config import (
    check_direction,
    get_declaration,
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
from control_plane.core.clock import utc_now
from control_plane.core.errors import Conflict, FieldError, InvalidState
from control_plane.core.usages import Usages
from control_plane.core.vault import Vault
from control_plane.tenancy.secrets import OrgSecrets
from datanika_manifest.connectors.base import Direction
from datanika_manifest.connectors.registry import CONNECTORS


class ConnectionService:
    """The connections of one org.

    Args:
        session: Inside the org.
        org_id: The org.
        vault: Encrypts and decrypts the secrets.
        audit: Where changes are recorded.
    """

    def __init__(self, session: Session, org_id: int, vault: Vault, audit: AuditLog) -> None:
        self._session = session
        self._org_id = org_id
        self._secrets = OrgSecrets(session, org_id, vault)
        self._audit = audit
        self._connections = ConnectionRepository(session, org_id)

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
        self._insert(row)
        self._secrets.store(row, split.secrets)
        self._audit.record("create", "connection", row.id, new=_audit_values(row))
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
            self._insert(row)
        row.config = split.public
        self._secrets.store(row, split.secrets)
        self._audit.record("create", "warehouse", row.id)
        return row

    def update_connection(self, connection_id: int, body: ConnectionUpdate) -> Connection:
        """Changes what `body` names.

        Raises:
            NotFound: The org has no such connection.
            InvalidState: It is the managed warehouse.
            Invalid: Wrong direction or settings.
            Conflict: The name is taken.
        """
        row = self._user_owned(connection_id)
        old = _audit_values(row)
        declaration = get_declaration(row.connector)
        if body.direction is not None:
            check_direction(declaration, body.direction)
            row.direction = body.direction
        if body.config is not None:
            refuse_secrets_elsewhere(declaration, row.config, body.config)
            merged = {**row.config, **self.secrets_of(row), **body.config}
            split = split_config(declaration, merged)
            row.config = split.public
            self._secrets.store(row, split.secrets)
        if body.name is not None and body.name != row.name:
            self._rename(row, body.name)
        self._session.flush()
        self._audit.record("update", "connection", row.id, old=old, new=_audit_values(row))
        return row

    def delete_connection(self, connection_id: int, usages: Usages) -> None:
        """Deletes a connection softly.

        Raises:
            NotFound: The org has no such connection.
            InvalidState: It is the managed warehouse.
            Conflict: Something still uses it; the detail names what.
        """
        row = self._user_owned(connection_id)
        usages.refuse_if_used(self._session, self._org_id, "connection", row.id, row.name)
        row.deleted_at = utc_now()
        self._audit.record("delete", "connection", row.id, old=_audit_values(row))

    def get_connection(self, connection_id: int) -> Connection:
        """Returns a connection.

        Raises:
            NotFound: The org has no such connection.
        """
        return self._connections.get(connection_id)

    def find_connection(self, connection_id: int) -> Connection | None:
        """Returns a connection, None where the org has none with that id."""
        return self._connections.find(connection_id)

    def find_managed_warehouse(self) -> Connection | None:
        """Returns the org's managed warehouse, once it is provisioned."""
        return self._connections.find_managed_warehouse()

    def list_connections(self) -> Sequence[Connection]:
        """Returns every live connection."""
        return self._connections.list_all()

    def page_connections(self, after_id: int | None, limit: int) -> Sequence[Connection]:
        """Returns the connections after `after_id`."""
        return self._connections.page_after(after_id, limit)

    def secrets_of(self, row: Connection) -> dict[str, str]:
        """Decrypts a connection's secrets.

        Raises:
            Sealed: The keys that were given do not open them.
        """
        return self._secrets.read(row)

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
            secrets_set=sorted(CONNECTORS[row.connector].secret_fields()) if row.secrets else [],
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def _insert(self, row: Connection) -> None:
        try:
            with self._session.begin_nested():
                self._connections.add(row)
        except IntegrityError:
            raise _name_taken(row.name) from None

    def _rename(self, row: Connection, name: str) -> None:
        try:
            with self._session.begin_nested():
                row.name = name
        except IntegrityError:
            raise _name_taken(name) from None

    def _user_owned(self, connection_id: int) -> Connection:
        row = self._connections.get(connection_id)
        if CONNECTORS[row.connector].is_managed:
            raise InvalidState("The managed warehouse is the platform's to change.")
        return row


def _audit_values(row: Connection) -> dict[str, Any]:
    return {"name": row.name, "direction": row.direction, "config": row.config}


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"There is a connection called '{name}' already.",
        errors=(FieldError("/name", "is taken"),),
    )
