"""`/api/v1/orgs/{org}/audit`, `/api/v1/system/audit`, and their exports as JSON Lines."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from control_plane.access.audit_log.schemas import AuditEntryView, AuditFilters
from control_plane.access.caller import Caller, OperatorDep, Require, actor_of
from control_plane.access.permissions import Permission
from control_plane.audit import reading
from control_plane.audit.service import PlatformAuditLog
from control_plane.core.dependencies import SessionDep, SessionFactoryDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of

router = APIRouter(prefix="/orgs/{org}/audit", tags=["audit"])
platform = APIRouter(prefix="/system/audit", tags=["platform"])

Reader = Annotated[Caller, Depends(Require(Permission.AUDIT_READ))]
Filters = Annotated[AuditFilters, Depends()]


class JsonLines(StreamingResponse):
    """One JSON object for each line (https://jsonlines.org)."""

    media_type = "application/jsonl"


@router.get("")
def list_audit_entries(
    caller: Reader,
    session: SessionDep,
    filters: Filters,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[AuditEntryView]:
    """Lists who did what, newest first."""
    before_id = cursor_id(cursor)
    rows = reading.page_entries(session, caller.org_id, before_id, limit + 1, filters.wanted())
    return page_of(rows, limit, AuditEntryView)


@router.get("/export", response_class=JsonLines)
def export_audit_entries(
    caller: Reader, session: SessionDep, factory: SessionFactoryDep, filters: Filters
) -> JsonLines:
    """Gives everything up to now as JSON Lines, oldest first; the export itself is an entry."""
    own = caller.audit(session).record("export", "audit_log", caller.org, new=filters.given())
    session.flush()
    batches = reading.export_entries(factory, caller.org_id, own.id, filters.wanted())
    return _download(batches, f"audit_{caller.org}.jsonl")


@platform.get("")
def list_platform_audit_entries(
    operator: OperatorDep,
    session: SessionDep,
    filters: Filters,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[AuditEntryView]:
    """Lists what was done to the platform itself, newest first."""
    before_id = cursor_id(cursor)
    rows = reading.page_platform_entries(session, before_id, limit + 1, filters.wanted())
    return page_of(rows, limit, AuditEntryView)


@platform.get("/export", response_class=JsonLines)
def export_platform_audit_entries(
    request: Request,
    operator: OperatorDep,
    session: SessionDep,
    factory: SessionFactoryDep,
    filters: Filters,
) -> JsonLines:
    """Gives everything up to now as JSON Lines, oldest first; the export itself is an entry."""
    actor = actor_of(request, "user", operator.id, operator.email)
    own = PlatformAuditLog(session, actor).record("export", "audit_log", new=filters.given())
    session.flush()
    batches = reading.export_platform_entries(factory, own.id, filters.wanted())
    return _download(batches, "audit_platform.jsonl")


def _download(batches: Iterable[Sequence[Any]], file_name: str) -> JsonLines:
    headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
    return JsonLines(_lines(batches), headers=headers)


def _lines(batches: Iterable[Sequence[Any]]) -> Iterator[str]:
    for batch in batches:
        yield "".join(f"{AuditEntryView.model_validate(row).model_dump_json()}\n" for row in batch)
