"""`/api/v1/orgs/{org}/connections`."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import ValidationError

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.connections.schemas import (
    ConnectionCreate,
    ConnectionTestResult,
    ConnectionUpdate,
    ConnectionView,
    TaskAnswer,
)
from control_plane.connections.service import ConnectionService
from control_plane.core.dependencies import (
    SessionDep,
    SessionFactoryDep,
    TaskRunnerDep,
    VaultDep,
)
from control_plane.core.errors import Upstream
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cursor_id,
    cut,
    encode_cursor,
)
from control_plane.core.tasks import TaskFailed
from control_plane.core.usages import UsagesDep

router = APIRouter(prefix="/orgs/{org}/connections", tags=["connections"])

Reader = Annotated[Caller, Depends(Require(Permission.CONNECTIONS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.CONNECTIONS_WRITE))]
Runner = Annotated[Caller, Depends(Require(Permission.CONNECTIONS_RUN))]
Restorer = Annotated[Caller, Depends(Require(Permission.DELETED_WRITE))]
TEST_DEADLINE_SECONDS = 20


async def _services(session: SessionDep, vault: VaultDep) -> Callable[[Caller], ConnectionService]:
    return lambda caller: ConnectionService.of(session, caller, vault)


ServiceDep = Annotated[Callable[[Caller], ConnectionService], Depends(_services)]


@router.post("", status_code=201)
def create_connection(
    body: ConnectionCreate, caller: Writer, services: ServiceDep, etag: ETagDep
) -> ConnectionView:
    """Creates a connection; its secrets are encrypted and never shown again."""
    service = services(caller)
    return etag(service.view(service.create_connection(body)))


@router.get("")
def list_connections(
    caller: Reader, services: ServiceDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[ConnectionView]:
    """Lists the connections."""
    service = services(caller)
    rows, has_more = cut(service.page(cursor_id(cursor), limit + 1), limit)
    return Page(
        data=[service.view(row) for row in rows],
        next_cursor=encode_cursor(rows[-1].id) if has_more else None,
    )


@router.get("/{connection_id}")
def get_connection(
    connection_id: int, caller: Reader, services: ServiceDep, etag: ETagDep
) -> ConnectionView:
    """Returns a connection."""
    service = services(caller)
    return etag(service.view(service.get(connection_id)))


@router.patch("/{connection_id}")
def update_connection(
    connection_id: int,
    body: ConnectionUpdate,
    caller: Writer,
    services: ServiceDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> ConnectionView:
    """Changes a connection; what is left out stays."""
    service = services(caller)
    return etag(service.view(service.update_connection(connection_id, body, if_match)))


@router.delete("/{connection_id}", status_code=204)
def delete_connection(
    connection_id: int,
    caller: Writer,
    services: ServiceDep,
    if_match: IfMatchDep,
    usages: UsagesDep,
) -> None:
    """Deletes a connection that nothing uses any more."""
    services(caller).delete(connection_id, if_match, usages)


@router.post("/{connection_id}/restore")
def restore_connection(
    connection_id: int, caller: Restorer, services: ServiceDep, etag: ETagDep
) -> ConnectionView:
    """Makes a deleted connection live again, with its secrets."""
    service = services(caller)
    return etag(service.view(service.restore(connection_id)))


@router.post("/{connection_id}/test")
def test_connection(
    connection_id: int,
    caller: Runner,
    services: ServiceDep,
    factory: SessionFactoryDep,
    tasks: TaskRunnerDep,
    vault: VaultDep,
) -> ConnectionTestResult:
    """Connects now and tells what happened, with a reason that can be acted on."""
    service = services(caller)
    row = service.get(connection_id)
    service.refuse_destroyed(row)
    started_at = time.monotonic()
    try:
        value = OrgTasks.of(factory, tasks, vault, caller).run(
            "connection_test",
            {"connection": row.slug, "direction": row.direction},
            connection_ids=[row.id],
            deadline_seconds=TEST_DEADLINE_SECONDS,
        )
    except TaskFailed as error:
        duration_ms = round((time.monotonic() - started_at) * 1000)
        return ConnectionTestResult(
            ok=False, code=error.code, message=error.message, duration_ms=duration_ms
        )
    try:
        found = TaskAnswer.model_validate(value)
    except ValidationError:
        raise Upstream("The task 'connection_test' answered in a form that is not known.") from None
    return ConnectionTestResult(
        ok=True,
        code="ok",
        message="The connection works.",
        duration_ms=found.duration_ms,
        server_version=found.server_version,
    )
