"""`/api/v1/orgs/{org}/schedules`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of
from control_plane.schedules.schemas import NextTicks, ScheduleCreate, ScheduleUpdate, ScheduleView
from control_plane.schedules.service import ScheduleService

router = APIRouter(prefix="/orgs/{org}/schedules", tags=["schedules"])

Reader = Annotated[Caller, Depends(Require(Permission.SCHEDULES_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.SCHEDULES_WRITE))]
Restorer = Annotated[Caller, Depends(Require(Permission.DELETED_WRITE))]
TickCount = Annotated[int, Query(ge=1, le=20, description="How many.")]


@router.post("", status_code=201)
def create_schedule(
    body: ScheduleCreate, caller: Writer, session: SessionDep, etag: ETagDep
) -> ScheduleView:
    """Creates a schedule; it ticks from the next publish on."""
    row = ScheduleService(session, caller).create_schedule(body)
    return etag(ScheduleView.model_validate(row))


@router.get("")
def list_schedules(
    caller: Reader, session: SessionDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[ScheduleView]:
    """Lists the schedules."""
    rows = ScheduleService(session, caller).page(cursor_id(cursor), limit + 1)
    return page_of(rows, limit, ScheduleView)


@router.get("/{schedule_id}")
def get_schedule(
    schedule_id: int, caller: Reader, session: SessionDep, etag: ETagDep
) -> ScheduleView:
    """Returns a schedule."""
    return etag(ScheduleView.model_validate(ScheduleService(session, caller).get(schedule_id)))


@router.get("/{schedule_id}/next")
def list_next_ticks(
    schedule_id: int, caller: Reader, session: SessionDep, count: TickCount = 5
) -> NextTicks:
    """Tells when a schedule ticks next."""
    service = ScheduleService(session, caller)
    row = service.get(schedule_id)
    return NextTicks(
        timezone=row.timezone, is_active=row.is_active, ticks=service.next_ticks(row, count)
    )


@router.patch("/{schedule_id}")
def update_schedule(
    schedule_id: int,
    body: ScheduleUpdate,
    caller: Writer,
    session: SessionDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> ScheduleView:
    """Changes a schedule: at the next publish, but `is_active` within ten seconds."""
    row = ScheduleService(session, caller).update_schedule(schedule_id, body, if_match)
    return etag(ScheduleView.model_validate(row))


@router.delete("/{schedule_id}", status_code=204)
def delete_schedule(
    schedule_id: int, caller: Writer, session: SessionDep, if_match: IfMatchDep
) -> None:
    """Deletes a schedule."""
    ScheduleService(session, caller).delete(schedule_id, if_match)


@router.post("/{schedule_id}/restore")
def restore_schedule(
    schedule_id: int, caller: Restorer, session: SessionDep, etag: ETagDep
) -> ScheduleView:
    """Makes a deleted schedule live again; it is inactive until somebody switches it on."""
    return etag(ScheduleView.model_validate(ScheduleService(session, caller).restore(schedule_id)))
