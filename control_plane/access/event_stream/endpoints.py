"""`/api/v1/orgs/{org}/events`: as a list over HTTP, and as it happens over a WebSocket."""

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query, WebSocket
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from control_plane.access.caller import Caller, Require
from control_plane.access.event_stream import streaming
from control_plane.access.event_stream.schemas import EventView
from control_plane.access.event_stream.streaming import Viewer
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep
from control_plane.core.errors import DatanikaError
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cursor_id,
    page_of,
)
from control_plane.core.problems import problem_of
from control_plane.core.slots import Slots
from control_plane.events import service
from control_plane.events.signals import EventSignals

router = APIRouter(prefix="/orgs/{org}/events", tags=["events"])

Reader = Annotated[Caller, Depends(Require(Permission.RUNS_READ))]
After = Annotated[
    int | None, Query(ge=0, le=2**63 - 1, description="The last event that the client knows.")
]
SUBPROTOCOL = "datanika.events.v1"
BEARER = "bearer."


@router.get("")
def list_events(
    caller: Reader,
    session: SessionDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
    after: After = None,
) -> Page[EventView]:
    """Lists what happened, oldest first; events stay for a week."""
    position = cursor_id(cursor)
    start = (after or 0) if position is None else position
    rows = service.page_events(session, caller.org_id, start, limit + 1, streaming.families(caller))
    return page_of(rows, limit, EventView)


@router.websocket("")
async def stream_events(websocket: WebSocket, org: str, after: After = None) -> None:
    """Sends what happens, first what happened `after` the last event that the client knows.

    An access token or an API key comes in the handshake's headers. A browser, which can set none, offers
    the subprotocols `datanika.events.v1` and `bearer.<access token>`. No cookie counts: a page of
    another site can open a socket with a person's cookies, and cannot know a token.
    """
    state = websocket.app.state
    viewer = Viewer(
        _with_token(websocket), org, state.session_factory, state.signer, state.settings
    )
    try:
        caller, _ = await run_in_threadpool(viewer.enter, after)
        with (
            cast("Slots", state.stream_slots).take(caller.org_id),
            cast("EventSignals", state.event_signals).subscribe(caller.org_id) as subscription,
        ):
            _, start = await run_in_threadpool(viewer.enter, after)
            is_offered = SUBPROTOCOL in websocket.scope.get("subprotocols", ())
            await websocket.accept(SUBPROTOCOL if is_offered else None)
            await streaming.stream(websocket, viewer, start, subscription)
    except DatanikaError as error:
        await websocket.send_denial_response(problem_of(websocket, error))


def _with_token(websocket: WebSocket) -> HTTPConnection:
    """Returns the handshake with the token that a browser offered as a subprotocol."""
    scope = websocket.scope
    offered = [one for one in scope.get("subprotocols", ()) if one.startswith(BEARER)]
    if offered and "authorization" not in websocket.headers:
        token = offered[0].removeprefix(BEARER)
        header = (b"authorization", f"Bearer {token}".encode("latin-1", "replace"))
        scope = {**scope, "headers": [*scope["headers"], header]}
    return HTTPConnection(scope)
