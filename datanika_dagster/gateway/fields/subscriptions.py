"""The table of `Subscription` (dagster-graphql 1.13.27)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from dagster._core.remote_representation.grpc_server_state_subscriber import (
    LocationStateChangeEvent,
    LocationStateSubscriber,
)
from dagster_graphql.schema.external import (
    GrapheneLocationStateChangeEvent,
    GrapheneLocationStateChangeSubscription,
)

from datanika_dagster.gateway.fields.rules import FieldRule, Reach, Table, rows


async def own_location_events(_root: Any, info: Any) -> AsyncIterator[Any]:
    """Gives what happens to the org's own code location.

    Dagster's own generator gives everybody's, and nothing at all where the process's context is not
    of its class.
    """
    workspace = info.context.process_context.workspace
    location = info.context.principal.location
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[LocationStateChangeEvent] = asyncio.Queue()

    def take(event: LocationStateChangeEvent) -> None:
        if event.location_name == location:
            loop.call_soon_threadsafe(queue.put_nowait, event)

    token = workspace.add_state_subscriber(LocationStateSubscriber(take))
    try:
        while True:
            event = await queue.get()
            yield _made(
                GrapheneLocationStateChangeSubscription,
                event=_made(
                    GrapheneLocationStateChangeEvent,
                    event_type=event.event_type,
                    location_name=event.location_name,
                    message=event.message,
                    server_id=event.server_id,
                ),
            )
    finally:
        workspace.rm_state_subscriber(token)


def _made(kind: Callable[..., Any], **values: Any) -> Any:
    # Graphene makes the parameters when it makes the class.
    return kind(**values)


SUBSCRIPTIONS: Table = {
    **rows(Reach.STORAGE, "capturedLogs", "pipelineRunLogs"),
    "locationStateChangeEvents": FieldRule(Reach.LOCATION, instead=own_location_events),
}
