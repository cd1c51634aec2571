"""Bounds how many requests hold a transaction at once, so that each of them finds what it needs.

A request keeps its database connection while it waits for a thread, and a thread that works for one
may open a second connection. Without a bound, requests that hold connections wait for threads that
wait for connections, and nothing is answered any more.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from control_plane.core.errors import Unavailable

# More than the slow requests that `core/slots.py` lets in, so that short ones always pass them.
PLACES = 24
# What the server's pool of threads has (anyio's default); each may need a connection of its own.
THREADS = 40
WAIT_SECONDS = 10.0


class Places:
    """Places for requests with a transaction; the others wait in the order in which they came."""

    def __init__(self, places: int = PLACES) -> None:
        self._places = asyncio.Semaphore(places)

    @asynccontextmanager
    async def take(self) -> AsyncGenerator[None]:
        """Holds a place while the block runs.

        Raises:
            Unavailable: None became free in time.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable(
                "The server is busy with other requests; try again in a moment."
            ) from None
        try:
            yield
        finally:
            self._places.release()
