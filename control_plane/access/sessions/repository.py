"""Reads and writes sessions; global tables, found by user or by token hash."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from control_plane.access.sessions.models import RefreshToken, UserSession


class SessionRepository:
    """Sessions and their refresh tokens."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def add(self, row: UserSession) -> UserSession:
        """Inserts a session and fills its id."""
        self.session.add(row)
        self.session.flush()
        return row

    def find_live(self, session_id: int, now: datetime) -> UserSession | None:
        """Returns the session unless it has ended."""
        return self.session.scalar(
            select(UserSession).where(
                UserSession.id == session_id,
                UserSession.revoked_at.is_(None),
                UserSession.expires_at > now,
            )
        )

    def add_refresh_token(self, session_id: int, token_hash: str) -> None:
        """Inserts a refresh token."""
        self.session.add(RefreshToken(session_id=session_id, token_hash=token_hash))
        self.session.flush()

    def use_refresh_token(self, token_hash: str, now: datetime) -> int | None:
        """Marks an unused token as used, atomically, and returns its session's id."""
        return self.session.scalar(
            update(RefreshToken)
            .where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_(None))
            .values(used_at=now)
            .returning(RefreshToken.session_id)
        )

    def session_of_refresh_token(self, token_hash: str) -> int | None:
        """Returns the session that a token, used or not, belongs to."""
        return self.session.scalar(
            select(RefreshToken.session_id).where(RefreshToken.token_hash == token_hash)
        )

    def revoke(self, session_id: int, now: datetime) -> None:
        """Ends a session."""
        self.session.execute(
            update(UserSession)
            .where(UserSession.id == session_id, UserSession.revoked_at.is_(None))
            .values(revoked_at=now)
        )
