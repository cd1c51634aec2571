"""Removes what has expired, as the worker's job `housekeeping`.

Some of it stays for a while after it can be used no more: a refresh token that comes back must be
known as one that was used, and whoever looks into a break-in wants to see the sessions.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.housekeeping.repository import HousekeepingRepository
from control_plane.access.task_tokens.service import delete_expired_tokens
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.events.service import delete_old_events

logger = logging.getLogger(__name__)
INTERVAL_SECONDS = 3600.0
BATCH = 1000
LINKS_AND_CODES_STAY = timedelta(days=7)
SESSIONS_STAY = timedelta(days=30)


class Housekeeping:
    """One worker's housekeeping; several workers at once do no harm.

    Args:
        factory: Makes sessions; each batch is a transaction of its own.
    """

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory
        self._next_at = 0.0

    def run_if_due(self) -> None:
        """Cleans up once an hour; the worker asks far more often."""
        if time.monotonic() < self._next_at:
            return
        removed = self.run_once()
        self._next_at = time.monotonic() + INTERVAL_SECONDS
        if any(removed.values()):
            logger.info("removed %s", ", ".join(f"{n} {name}" for name, n in removed.items() if n))

    def run_once(self) -> dict[str, int]:
        """Removes everything that has expired, and returns how many rows of what."""
        now = utc_now()
        links, sessions = now - LINKS_AND_CODES_STAY, now - SESSIONS_STAY
        # Tokens before their sessions: they refer to them.
        steps: dict[str, Callable[[HousekeepingRepository], int]] = {
            "throttle counters": lambda rows: rows.delete_counters(now),
            "password resets": lambda rows: rows.delete_password_resets(links),
            "oauth codes": lambda rows: rows.delete_oauth_codes(links),
            "refresh tokens": lambda rows: rows.delete_refresh_tokens(sessions),
            "sessions": lambda rows: rows.delete_sessions(sessions),
        }
        removed = {name: self._in_batches(step) for name, step in steps.items()}
        removed["task tokens"] = delete_expired_tokens(self._factory)
        removed["events"] = delete_old_events(self._factory)
        return removed

    def _in_batches(self, step: Callable[[HousekeepingRepository], int]) -> int:
        removed = 0
        while True:
            with transaction(self._factory) as session:
                count = step(HousekeepingRepository(session, BATCH))
            removed += count
            if count < BATCH:
                return removed
