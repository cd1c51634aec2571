"""`/api/v1/orgs/{org}` and its members."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission, Role
from control_plane.access.sign_in.schemas import OrgView
from control_plane.access.users.service import list_members
from control_plane.core.dependencies import SessionDep
from control_plane.tenancy.service import get_organization

router = APIRouter(prefix="/orgs/{org}", tags=["organization"])

OrgReader = Annotated[Caller, Depends(Require(Permission.ORGS_READ))]
MemberReader = Annotated[Caller, Depends(Require(Permission.MEMBERS_READ))]


class MemberView(BaseModel):
    """A member and their role."""

    user_id: int
    email: str
    role: Role


class Members(BaseModel):
    """Every member of an org."""

    data: list[MemberView]


@router.get("")
def get_org(caller: OrgReader, session: SessionDep) -> OrgView:
    """Returns the organization."""
    return OrgView.model_validate(get_organization(session, caller.org_id))


@router.get("/members")
def get_members(caller: MemberReader, session: SessionDep) -> Members:
    """Lists who belongs to the organization."""
    members = list_members(session, caller.org_id)
    return Members(
        data=[MemberView(user_id=m.user_id, email=m.email, role=m.role) for m in members]
    )
