"""Records what somebody did, in the transaction in which it happens."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from control_plane.audit.models import AuditEntry, PlatformAuditEntry


@dataclass(frozen=True)
class Actor:
    """Who does something.

    Attributes:
        kind: `user`, `api_key` or `system`.
        id: The user's or key's id; None for the platform itself.
        name: An e-mail address, a key's name or a process's role.
        ip_address: Where the request came from.
        request_id: Ties the entry to the request's log lines.
    """

    kind: str
    id: int | None
    name: str
    ip_address: str | None = None
    request_id: str | None = None


SYSTEM = Actor(kind="system", id=None, name="datanika")


class AuditLog:
    """Writes one org's audit entries for one actor."""

    def __init__(self, session: Session, org_id: int, actor: Actor) -> None:
        self._session = session
        self._org_id = org_id
        self._actor = actor

    def record(
        self,
        action: str,
        resource_type: str,
        resource_id: object = None,
        *,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
    ) -> AuditEntry:
        """Adds an entry and returns it; its id comes with the next flush.

        Args:
            action: A verb: create, update, delete, login, run, secret_access, …
            resource_type: What it was done to.
            resource_id: Which one.
            old: Values before; callers leave secrets out.
            new: Values after; callers leave secrets out.
        """
        values = _values(self._actor, action, resource_type, resource_id)
        entry = AuditEntry(org_id=self._org_id, old_values=old, new_values=new, **values)
        self._session.add(entry)
        return entry


class PlatformAuditLog:
    """Writes the platform's own audit entries: what operators do, and who signs in or fails to."""

    def __init__(self, session: Session, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    def record(
        self,
        action: str,
        resource_type: str,
        resource_id: object = None,
        *,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
    ) -> PlatformAuditEntry:
        """Adds an entry and returns it; the same arguments as an org's."""
        values = _values(self._actor, action, resource_type, resource_id)
        entry = PlatformAuditEntry(old_values=old, new_values=new, **values)
        self._session.add(entry)
        return entry


def _values(actor: Actor, action: str, resource_type: str, resource_id: object) -> dict[str, Any]:
    return {
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "actor_name": actor.name,
        "action": action,
        "resource_type": resource_type,
        "resource_id": None if resource_id is None else str(resource_id),
        "ip_address": actor.ip_address,
        "request_id": actor.request_id,
    }
