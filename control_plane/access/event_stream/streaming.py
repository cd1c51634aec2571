"""Sends a client what happens in its org for as long as it may know.

Whoever it is and what they may see is asked again for each look, so a session that ends, a key that is
revoked and a role that changes end or change the stream within `RECHECK_SECONDS`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fastapi import WebSocket
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from control_plane.access.caller import Caller, resolve_caller
from control_plane.access.event_stream.schemas import EventView, StreamStarted
from control_plane.access.permissions import Permission
from control_plane.access.sessions.tokens import TokenSigner
from control_plane.core.errors import DatanikaError, Forbidden
from control_plane.events import service
from control_plane.events.service import Position
from control_plane.events.signals import Subscription
from control_plane.settings import Settings

FAMILIES: Final[dict[str, Permission]] = {"run": Permission.RUNS_READ}
"""What a kind of event begins with, and who may see those."""

RECHECK_SECONDS: Final = 5.0
PAGE: Final = 200
CLOSE_UNAUTHENTICATED: Final = 4401
CLOSE_FORBIDDEN: Final = 4403
CLOSE_UNAVAILABLE: Final = 1013


@dataclass(frozen=True)
class Viewer:
    """Who reads the events of which org, proven anew each time.

    Attributes:
        connection: The handshake, with what it proves somebody by.
        org: The org's slug.
        factory: Makes the transactions.
        signer: Reads access tokens.
        settings: Name the header of API keys.
    """

    connection: HTTPConnection
    org: str
    factory: sessionmaker[Session]
    signer: TokenSigner
    settings: Settings

    def enter(self, after_id: int | None) -> tuple[Caller, Position]:
        """Returns who it is and where the stream begins.

        Raises:
            Unauthorized: Nobody, or nobody any more.
            NotFound: They have no such org.
            Forbidden: They may see no event, or the org is suspended.
        """
        with self.factory() as session, session.begin():
            caller = self._caller(session)
            return caller, service.position_after(session, caller.org_id, after_id)

    def look(self, after_id: int) -> Sequence[EventView]:
        """Returns the next events that they may see; raises as `enter` does."""
        with self.factory() as session, session.begin():
            caller = self._caller(session)
            rows = service.page_events(session, caller.org_id, after_id, PAGE, families(caller))
            return [EventView.model_validate(row, from_attributes=True) for row in rows]

    def _caller(self, session: Session) -> Caller:
        caller = resolve_caller(self.connection, self.org, session, self.signer, self.settings)
        if not families(caller):
            wanted = " or ".join(f"'{permission}'" for permission in sorted(FAMILIES.values()))
            raise Forbidden(f"This needs the permission {wanted}.")
        return caller


def families(caller: Caller) -> frozenset[str]:
    """Returns which kinds of events somebody may see."""
    return frozenset(name for name, needed in FAMILIES.items() if needed in caller.permissions)


async def stream(
    websocket: WebSocket, viewer: Viewer, start: Position, subscription: Subscription
) -> None:
    """Sends events until the client goes or may know no more.

    Args:
        websocket: An accepted one.
        viewer: Whose it is.
        start: Where it begins.
        subscription: Wakes when something has happened; taken before `start` was read.
    """
    sending = asyncio.create_task(_send(websocket, viewer, start, subscription))
    leaving = asyncio.create_task(_until_gone(websocket))
    done, pending = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if sending in done and leaving not in done and (error := sending.exception()):
        if not isinstance(error, DatanikaError):
            raise error
        await websocket.close(_close_code(error), error.detail[:120])


async def _send(
    websocket: WebSocket, viewer: Viewer, start: Position, subscription: Subscription
) -> None:
    position = start.event_id
    hello = StreamStarted(id=position, is_complete=start.is_complete)
    await websocket.send_text(hello.model_dump_json())
    while True:
        events = await run_in_threadpool(viewer.look, position)
        for event in events:
            await websocket.send_text(event.model_dump_json())
            position = event.id
        if len(events) < PAGE:
            await subscription.wait(RECHECK_SECONDS)


async def _until_gone(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        # A client has nothing to say here.
        continue


def _close_code(error: DatanikaError) -> int:
    if error.status == HTTPStatus.UNAUTHORIZED:
        return CLOSE_UNAUTHENTICATED
    is_refused = error.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    return CLOSE_FORBIDDEN if is_refused else CLOSE_UNAVAILABLE
