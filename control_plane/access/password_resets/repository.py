"""Reads and writes password resets; a global table, found by token hash."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from control_plane.access.password_resets.models import PasswordReset


class PasswordResetRepository:
    """One-time links."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def add(self, row: PasswordReset) -> PasswordReset:
        """Inserts a link."""
        self.session.add(row)
        self.session.flush()
        return row

    def find_open(self, token_hash: str, now: datetime) -> PasswordReset | None:
        """Returns the link with this token, unless it was used or has expired."""
        return self.session.scalar(
            select(PasswordReset)
            .where(
                PasswordReset.token_hash == token_hash,
                PasswordReset.used_at.is_(None),
                PasswordReset.expires_at > now,
            )
            .execution_options(populate_existing=True)
        )

    def close_all(self, user_id: int, now: datetime) -> None:
        """Makes every open link of a user useless."""
        self.session.execute(
            update(PasswordReset)
            .where(PasswordReset.user_id == user_id, PasswordReset.used_at.is_(None))
            .values(used_at=now)
        )
