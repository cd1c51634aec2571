"""Makes, lists and revokes API keys."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.access.caller import API_KEY_PREFIX, Caller
from control_plane.access.key_store.models import ApiKey
from control_plane.access.key_store.repository import ApiKeyRepository
from control_plane.access.permissions import Permission
from control_plane.core.clock import utc_now
from control_plane.core.errors import Forbidden, Invalid
from control_plane.core.tokens import hash_token, new_token


class ApiKeyService:
    """The API keys of the caller's org."""

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._caller = caller
        self._keys = ApiKeyRepository(session, caller.org_id)

    def create_key(
        self, name: str, scopes: Sequence[Permission], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Makes a key and returns it with its secret, which is not kept.

        Raises:
            Forbidden: A scope that the caller does not have, or a key that makes a key.
            Invalid: It would have expired already.
        """
        if self._caller.actor.kind != "user" or self._caller.actor.id is None:
            raise Forbidden("An API key cannot make API keys; sign in.")
        missing = sorted(set(scopes) - self._caller.permissions)
        if missing:
            raise Forbidden(f"A key cannot have more than its creator: {', '.join(missing)}")
        if expires_at is not None and expires_at <= utc_now():
            raise Invalid.field("/expires_at", "is in the past")
        secret = new_token(API_KEY_PREFIX)
        row = self._keys.add(
            ApiKey(
                org_id=self._caller.org_id,
                name=name,
                key_hash=hash_token(secret),
                scopes=sorted(set(scopes)),
                created_by_user_id=self._caller.actor.id,
                expires_at=expires_at,
            )
        )
        self._caller.audit(self._session).record(
            "create", "api_key", row.id, new={"name": name, "scopes": row.scopes}
        )
        return row, secret

    def page_keys(self, after_id: int | None, limit: int) -> Sequence[ApiKey]:
        """Returns the live keys after `after_id`."""
        return self._keys.page_live(after_id, limit)

    def revoke_key(self, key_id: int) -> None:
        """Makes a key useless from now on.

        Raises:
            NotFound: The org has no such key, or it is revoked already.
        """
        row = self._keys.lock_live(key_id)
        row.revoked_at = utc_now()
        self._caller.audit(self._session).record(
            "delete", "api_key", key_id, old={"name": row.name, "scopes": row.scopes}
        )
