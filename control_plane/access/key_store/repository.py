"""Reads and writes API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from control_plane.access.key_store.models import ApiKey
from control_plane.access.permissions import Role
from control_plane.core.database import entered
from control_plane.tenancy.repository import TenantRepository

# The same round trip tells PostgreSQL which org the transaction is in (`core/database.py`).
KEY_BY_HASH = text(
    "SELECT k.*, set_config('app.org_id', k.org_id::text, true) FROM key_by_hash(:key_hash) k"
)


@dataclass(frozen=True)
class KeyOwner:
    """What is known of a presented key: its org, and its creator's role there now."""

    key_id: int
    name: str
    scopes: tuple[str, ...]
    org_id: int
    org_slug: str
    is_suspended: bool
    creator_id: int
    creator_role: Role


def find_key_by_hash(session: Session, key_hash: str) -> KeyOwner | None:
    """Finds a live key, also while the session is in no org, and enters the key's org.

    One of the five SECURITY DEFINER functions (architecture, decision 19). A key whose creator
    has left the org is not found.
    """
    row = session.execute(KEY_BY_HASH, {"key_hash": key_hash}).one_or_none()
    if row is None:
        return None
    entered(session, row.org_id)
    return KeyOwner(
        row.key_id,
        row.name,
        tuple(row.scopes),
        row.org_id,
        row.slug,
        row.is_suspended,
        row.creator_id,
        Role(row.creator_role),
    )


class ApiKeyRepository(TenantRepository[ApiKey]):
    """The keys of one org."""

    model = ApiKey
    noun = "API key"

    def page_live(self, after_id: int | None, limit: int) -> Sequence[ApiKey]:
        """Returns keys that are not revoked."""
        statement = self.base().where(ApiKey.revoked_at.is_(None)).order_by(ApiKey.id).limit(limit)
        if after_id is not None:
            statement = statement.where(ApiKey.id > after_id)
        return self.session.scalars(statement).all()

    def lock_live(self, key_id: int) -> ApiKey:
        """Returns a key that is not revoked; nobody else changes it until the transaction ends.

        Raises:
            NotFound: This org has no such key, or it is revoked, perhaps a moment ago.
        """
        row = self.lock(key_id)
        return self._found(None if row.revoked_at is not None else row, key_id)

    def touch(self, key_id: int, now: datetime, not_after: datetime) -> None:
        """Notes the use of a key, unless one was noted after `not_after`."""
        self.session.execute(
            update(ApiKey)
            .where(
                ApiKey.org_id == self.org_id,
                ApiKey.id == key_id,
                (ApiKey.last_used_at.is_(None)) | (ApiKey.last_used_at < not_after),
            )
            .values(last_used_at=now)
        )

    def revoke_all(self, now: datetime, *, creator_id: int | None = None) -> list[int]:
        """Makes the org's keys useless, or those that one user made, and returns which."""
        statement = (
            update(ApiKey)
            .where(ApiKey.org_id == self.org_id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=now)
            .returning(ApiKey.id)
        )
        if creator_id is not None:
            statement = statement.where(ApiKey.created_by_user_id == creator_id)
        return sorted(self.session.scalars(statement))
