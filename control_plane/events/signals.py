"""Wakes who waits for what happens in an org, as soon as PostgreSQL says that something has."""

import asyncio
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from control_plane.core.signals import Listener

logger = logging.getLogger(__name__)
CHANNEL: Final = "datanika_events"


class Subscription:
    """Somebody who waits, in an event loop, for what happens in one org."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Ends the wait; from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            # The loop has ended, and with it the waiting.
            logger.debug("a waiting client is gone")

    async def wait(self, timeout_seconds: float) -> None:
        """Returns when something may have happened, at the latest when the time is up."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()


class EventSignals:
    """Listens for all orgs, with one connection for each process that somebody waits in.

    Args:
        database_url: SQLAlchemy URL of the control plane's database.
    """

    def __init__(self, database_url: str) -> None:
        self._listener = Listener(database_url, CHANNEL, self._wake, self._wake_all)
        self._waiting: dict[int, set[Subscription]] = {}
        self._lock = threading.Lock()

    @property
    def is_listening(self) -> bool:
        """Whether signals arrive now."""
        return self._listener.is_listening

    @contextmanager
    def subscribe(self, org_id: int) -> Generator[Subscription]:
        """Gives something to wait with while the block runs; looks done after that miss nothing."""
        subscription = Subscription()
        with self._lock:
            self._waiting.setdefault(org_id, set()).add(subscription)
        self._listener.start()
        try:
            yield subscription
        finally:
            with self._lock:
                left = self._waiting[org_id]
                left.discard(subscription)
                if not left:
                    del self._waiting[org_id]

    def close(self) -> None:
        """Stops listening."""
        self._listener.close()

    def _wake(self, org: str) -> None:
        # Anybody who can log in to the database can send a signal.
        if org.isascii() and org.isdecimal():
            with self._lock:
                woken = list(self._waiting.get(int(org), ()))
            for subscription in woken:
                subscription.wake()

    def _wake_all(self) -> None:
        with self._lock:
            woken = [one for waiting in self._waiting.values() for one in waiting]
        for subscription in woken:
            subscription.wake()
