"""`/api/v1/orgs/{org}`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control_plane.access.caller import Caller, Require
from control_plane.access.orgs.schemas import OrgProfile, OrgUpdate
from control_plane.access.orgs.service import OrgService
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep, SettingsDep, VaultDep
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.tenancy.models import Organization
from control_plane.tenancy.service import get_organization

router = APIRouter(prefix="/orgs/{org}", tags=["organization"])

Reader = Annotated[Caller, Depends(Require(Permission.ORGS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.ORGS_WRITE))]
Deleter = Annotated[Caller, Depends(Require(Permission.ORGS_DELETE))]


class Profiles:
    """What members see of their organization."""

    def __init__(self, session: SessionDep, settings: SettingsDep) -> None:
        self._session = session
        self._settings = settings

    def of(self, row: Organization, caller: Caller) -> OrgProfile:
        """Returns an organization as the caller sees it."""
        return OrgProfile(
            id=row.id,
            slug=row.slug,
            name=row.name,
            role=caller.role,
            member_count=OrgService(self._session, caller).count_members(),
            is_suspended=row.is_suspended,
            quota=self._settings.quota(row.parallel_runs, row.runs_per_hour),
            created_at=row.created_at,
            version=row.version,
        )


ProfilesDep = Annotated[Profiles, Depends()]


@router.get("")
def get_org(
    caller: Reader, profiles: ProfilesDep, session: SessionDep, etag: ETagDep
) -> OrgProfile:
    """Returns the organization."""
    return etag(profiles.of(get_organization(session, caller.org_id), caller))


@router.patch("")
def update_org(
    body: OrgUpdate,
    caller: Writer,
    profiles: ProfilesDep,
    session: SessionDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> OrgProfile:
    """Renames the organization; its slug never changes."""
    return etag(profiles.of(OrgService(session, caller).rename(body.name, if_match), caller))


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
