"""`/api/v1/orgs/{org}/audit`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.audit_log.schemas import AuditEntryView
from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.audit.service import EntryFilter, page_entries
from control_plane.core.dependencies import SessionDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of

router = APIRouter(prefix="/orgs/{org}/audit", tags=["audit"])

Reader = Annotated[Caller, Depends(Require(Permission.AUDIT_READ))]


class AuditFilters:
    """Which entries are listed."""

    def __init__(
        self,
        action: str | None = None,
        resource_type: str | None = None,
        user_id: int | None = None,
    ) -> None:
        self.action = action
        self.resource_type = resource_type
        self.user_id = user_id


@router.get("")
def list_audit_entries(
    caller: Reader,
    session: SessionDep,
    filters: Annotated[AuditFilters, Depends()],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[AuditEntryView]:
    """Lists who did what, newest first."""
    rows = page_entries(
        session,
        caller.org_id,
        cursor_id(cursor),
        limit + 1,
        EntryFilter(filters.action, filters.resource_type, filters.user_id),
    )
    return page_of(rows, limit, AuditEntryView)
