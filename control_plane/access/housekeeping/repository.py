"""Deletes rows of the global tables of sign-in, a batch at a time."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from control_plane.access.oauth.models import OAuthCode
from control_plane.access.password_resets.models import PasswordReset
from control_plane.access.sessions.models import RefreshToken, UserSession
from control_plane.access.throttling.models import ThrottleCounter


class HousekeepingRepository:
    """What expires.

    Args:
        session: One transaction.
        batch: The most rows that one call deletes, so that no lock is held for long.
    """

    def __init__(self, session: Session, batch: int) -> None:
        self.session = session
        self.batch = batch

    def delete_counters(self, ended_before: datetime) -> int:
        """Deletes counters of windows that have ended."""
        return self._delete(ThrottleCounter, ThrottleCounter.window_ends_at < ended_before)

    def delete_password_resets(self, expired_before: datetime) -> int:
        """Deletes password links."""
        return self._delete(PasswordReset, PasswordReset.expires_at < expired_before)

    def delete_oauth_codes(self, expired_before: datetime) -> int:
        """Deletes one-time codes of sign-ins by a provider."""
        return self._delete(OAuthCode, OAuthCode.expires_at < expired_before)

    def delete_refresh_tokens(self, ended_before: datetime) -> int:
        """Deletes tokens that were used, or whose session ended, before then."""
        of_ended = RefreshToken.session_id.in_(
            select(UserSession.id).where(_has_ended(ended_before))
        )
        return self._delete(RefreshToken, or_(RefreshToken.used_at < ended_before, of_ended))

    def delete_sessions(self, ended_before: datetime) -> int:
        """Deletes sessions that ended before then and have no refresh token any more."""
        has_tokens = select(RefreshToken.id).where(RefreshToken.session_id == UserSession.id)
        return self._delete(UserSession, _has_ended(ended_before) & ~has_tokens.exists())

    def _delete(self, model: type[Any], condition: ColumnElement[bool]) -> int:
        # Another worker's rows are left to it.
        expired = select(model.id).where(condition).limit(self.batch)
        chosen = expired.with_for_update(skip_locked=True)
        statement = delete(model).where(model.id.in_(chosen)).returning(model.id)
        options = {"synchronize_session": False}
        return len(self.session.scalars(statement, execution_options=options).all())


def _has_ended(before: datetime) -> ColumnElement[bool]:
    # LEAST ignores NULL: a session that nobody ended has ended when it expired.
    return func.least(UserSession.revoked_at, UserSession.expires_at) < before
