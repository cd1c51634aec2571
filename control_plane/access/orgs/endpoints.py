"""`/api/v1/orgs/{org}`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control_plane.access.caller import Caller, Require
from control_plane.access.orgs.schemas import OrgProfile, OrgUpdate
from control_plane.access.orgs.service import OrgService
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep, VaultDep
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.tenancy.models import Organization
from control_plane.tenancy.service import get_organization

router = APIRouter(prefix="/orgs/{org}", tags=["organization"])

Reader = Annotated[Caller, Depends(Require(Permission.ORGS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.ORGS_WRITE))]
Deleter = Annotated[Caller, Depends(Require(Permission.ORGS_DELETE))]


@router.get("")
def get_org(caller: Reader, session: SessionDep, etag: ETagDep) -> OrgProfile:
    """Returns the organization."""
    return etag(_profile(get_organization(session, caller.org_id), caller, session))


@router.patch("")
def update_org(
    body: OrgUpdate, caller: Writer, session: SessionDep, if_match: IfMatchDep, etag: ETagDep
) -> OrgProfile:
    """Renames the organization; its slug never changes."""
    return etag(_profile(OrgService(session, caller).rename(body.name, if_match), caller, session))


@router.delete("", status_code=204)
def delete_org(
    confirm: Annotated[str, Query(description="The organization's slug, once more.")],
    caller: Deleter,
    session: SessionDep,
    vault: VaultDep,
    if_match: IfMatchDep,
    destroy_keys: Annotated[
        bool, Query(description="Erase all secrets and their keys; nobody can bring them back.")
    ] = False,
) -> None:
    """Deletes the organization: an owner, signed in. An operator can restore it."""
    OrgService(session, caller).delete(confirm, vault, if_match, destroy_keys=destroy_keys)


def _profile(row: Organization, caller: Caller, session: SessionDep) -> OrgProfile:
    return OrgProfile(
        id=row.id,
        slug=row.slug,
        name=row.name,
        role=caller.role,
        member_count=OrgService(session, caller).count_members(),
        is_suspended=row.is_suspended,
        created_at=row.created_at,
        version=row.version,
    )
