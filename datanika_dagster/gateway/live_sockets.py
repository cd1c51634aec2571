"""Ends WebSockets whose opener may not have them any more: signed out, removed, or with another role.

A subscription outlives the request that it began with, so the session is looked at again and again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datanika_dagster.errors import ControlPlaneUnreachable

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 2.0
UNKNOWN_SECONDS: Final = 15.0
"""So long a WebSocket goes on while nobody can say whose it is."""
CLOSE_UNAUTHENTICATED: Final = 4401
CLOSE_FORBIDDEN: Final = 4403

Look = Callable[[], Awaitable[int | None]]
"""Returns the code to close with; None while all is as it was."""


class LiveSocket:
    """Runs an application's WebSocket as long as its opener may have it.

    Args:
        app: The application.
        look: Says whether they may.
    """

    def __init__(self, app: ASGIApp, look: Look) -> None:
        self._app = app
        self._look = look
        self._is_closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the WebSocket until either side ends it."""

        async def send_unless_closed(message: Message) -> None:
            if not self._is_closed:
                await send(message)

        serving = asyncio.ensure_future(self._app(scope, receive, send_unless_closed))
        watching = asyncio.ensure_future(self._until_refused())
        try:
            await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                return
            self._is_closed = True
            await _end(serving)
            with suppress(RuntimeError, OSError):  # the client was faster
                await send({"type": "websocket.close", "code": watching.result()})
        finally:
            await _end(watching)
            await _end(serving)

    async def _until_refused(self) -> int:
        known_at = time.monotonic()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                code = await self._look()
            except ControlPlaneUnreachable:
                if time.monotonic() - known_at > UNKNOWN_SECONDS:
                    return CLOSE_UNAUTHENTICATED
                continue
            if code is not None:
                return code
            known_at = time.monotonic()


async def _end(task: "asyncio.Future[Any]") -> None:
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
