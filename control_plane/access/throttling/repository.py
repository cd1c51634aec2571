"""Counts attempts in the table that every process shares; a global table without any name in it."""

from datetime import datetime

from sqlalchemy import case, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from control_plane.access.throttling.models import ThrottleCounter


class ThrottleRepository:
    """The counters."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def add_attempt(
        self, key_hash: str, now: datetime, window_ends_at: datetime
    ) -> tuple[int, datetime]:
        """Counts one more attempt under a key; atomic, whoever else counts at the same time.

        Args:
            key_hash: The key.
            now: A window that ended by then starts anew.
            window_ends_at: When the new window ends, where one starts.

        Returns:
            The attempts in the window, this one included, and when the window ends.
        """
        statement = insert(ThrottleCounter).values(
            key_hash=key_hash, window_ends_at=window_ends_at, attempts=1
        )
        has_ended = ThrottleCounter.window_ends_at <= now
        row = self.session.execute(
            statement.on_conflict_do_update(
                index_elements=[ThrottleCounter.key_hash],
                set_={
                    "attempts": case((has_ended, 1), else_=ThrottleCounter.attempts + 1),
                    "window_ends_at": case(
                        (has_ended, window_ends_at), else_=ThrottleCounter.window_ends_at
                    ),
                },
            ).returning(ThrottleCounter.attempts, ThrottleCounter.window_ends_at)
        ).one()
        return row.attempts, row.window_ends_at

    def take_back(self, key_hash: str, window_ends_at: datetime) -> None:
        """Takes one attempt back, where its window is still the present one."""
        self.session.execute(
            update(ThrottleCounter)
            .where(
                ThrottleCounter.key_hash == key_hash,
                ThrottleCounter.window_ends_at == window_ends_at,
            )
            .values(attempts=func.greatest(ThrottleCounter.attempts - 1, 0))
        )
