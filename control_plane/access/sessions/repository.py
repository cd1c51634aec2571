"""Reads and writes sessions; global tables, found by user or by token hash."""

from collections.abc import Sequence
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

    def page_live(
        self, user_id: int, now: datetime, before_id: int | None, limit: int
    ) -> Sequence[UserSession]:
        """Returns a user's sessions that have not ended, newest first."""
        statement = (
            select(UserSession)
            .where(
                UserSession.user_id == user_id,
                UserSession.revoked_at.is_(None),
                UserSession.expires_at > now,
            )
            .order_by(UserSession.id.desc())
            .limit(limit)
        )
        if before_id is not None:
            statement = statement.where(UserSession.id < before_id)
        return self.session.scalars(statement).all()

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

    def find_used_token(self, token_hash: str) -> tuple[UserSession, datetime | None] | None:
        """Returns the session that a used token belonged to, and when it was used."""
        row = self.session.execute(
            select(UserSession, RefreshToken.used_at)
            .join(RefreshToken, RefreshToken.session_id == UserSession.id)
            .where(RefreshToken.token_hash == token_hash)
        ).one_or_none()
        return (row[0], row[1]) if row else None

    def revoke(self, session_id: int, now: datetime) -> bool:
        """Ends a session, and returns whether it had not ended before."""
        ended = self.session.scalar(
            update(UserSession)
            .where(UserSession.id == session_id, UserSession.revoked_at.is_(None))
            .values(revoked_at=now)
            .returning(UserSession.id)
        )
        return ended is not None

    def revoke_of_user(self, user_id: int, now: datetime, *, but: int | None) -> None:
        """Ends all sessions of a user.

        Args:
            user_id: The user.
            now: When.
            but: The session that stays, None for none.
        """
        statement = update(UserSession).where(
            UserSession.user_id == user_id, UserSession.revoked_at.is_(None)
        )
        if but is not None:
            statement = statement.where(UserSession.id != but)
        self.session.execute(statement.values(revoked_at=now))

    def forget_org(self, org_id: int, user_id: int | None = None) -> None:
        """Lets no session be in an org any more, or none of one user's."""
        statement = update(UserSession).where(UserSession.current_org_id == org_id)
        if user_id is not None:
            statement = statement.where(UserSession.user_id == user_id)
        self.session.execute(statement.values(current_org_id=None))
