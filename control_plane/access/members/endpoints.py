"""`/api/v1/orgs/{org}/members`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.caller import Caller, Require
from control_plane.access.members.schemas import MemberUpdate, MemberView
from control_plane.access.members.service import MemberService
from control_plane.access.permissions import Permission, Role
from control_plane.access.users.models import Membership
from control_plane.core.dependencies import SessionDep
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

router = APIRouter(prefix="/orgs/{org}/members", tags=["organization"])

Reader = Annotated[Caller, Depends(Require(Permission.MEMBERS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.MEMBERS_WRITE))]
Member = Annotated[Caller, Depends(Require(Permission.ORGS_READ))]


@router.get("")
def get_members(
    caller: Reader, session: SessionDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[MemberView]:
    """Lists who belongs to the organization."""
    rows = MemberService(session, caller).page_members(cursor_id(cursor), limit + 1)
    members, has_more = cut(rows, limit)
    return Page(
        data=[
            MemberView(user_id=m.user_id, email=m.email, role=m.role, version=m.version)
            for m in members
        ],
        next_cursor=encode_cursor(members[-1].user_id) if has_more else None,
    )


@router.post("/leave", status_code=204)
def leave(caller: Member, session: SessionDep) -> None:
    """Leaves the organization; the last owner cannot."""
    MemberService(session, caller).leave()


@router.get("/{user_id}")
def get_member(user_id: int, caller: Reader, session: SessionDep, etag: ETagDep) -> MemberView:
    """Returns a member."""
    service = MemberService(session, caller)
    return etag(_view(service, service.get_member(user_id)))


@router.patch("/{user_id}")
def update_member(
    user_id: int,
    body: MemberUpdate,
    caller: Writer,
    session: SessionDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> MemberView:
    """Gives a member another role; only owners make or unmake owners."""
    service = MemberService(session, caller)
    return etag(_view(service, service.change_role(user_id, body.role, if_match)))


@router.delete("/{user_id}", status_code=204)
def remove_member(user_id: int, caller: Writer, session: SessionDep, if_match: IfMatchDep) -> None:
    """Removes a member, whose API keys of this organization end for ever."""
    MemberService(session, caller).remove_member(user_id, if_match)


def _view(service: MemberService, row: Membership) -> MemberView:
    return MemberView(
        user_id=row.user_id, email=service.email_of(row), role=Role(row.role), version=row.version
    )
