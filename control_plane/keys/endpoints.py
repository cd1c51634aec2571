"""`/api/v1/system/…` for the platform's keys, and `/api/v1/orgs/{org}/data-key/rotations`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from control_plane.access.caller import (
    Caller,
    OperatorDep,
    Require,
    RequireService,
    actor_of,
)
from control_plane.access.permissions import Permission
from control_plane.access.sessions.tokens import ServiceClaims, ServiceRole
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, VaultDep
from control_plane.core.requests import client_address
from control_plane.keys import service
from control_plane.keys.schemas import (
    DataKeyRotationView,
    KeyRotationCreate,
    KeyRotationView,
    MasterPasswordChange,
    MasterPasswordCreate,
    SealStateView,
    SealView,
    Unlock,
)
from control_plane.keys.service import PlatformKeyService

router = APIRouter(prefix="/system", tags=["platform"])
org_router = APIRouter(prefix="/orgs/{org}/data-key", tags=["keys"])
internal = APIRouter()

Process = Annotated[
    ServiceClaims,
    Depends(RequireService(ServiceRole.LAUNCHER, ServiceRole.GATEWAY, ServiceRole.SUPERVISOR)),
]
KeyReader = Annotated[Caller, Depends(Require(Permission.DATA_KEY_READ))]
KeyWriter = Annotated[Caller, Depends(Require(Permission.DATA_KEY_WRITE))]


async def _platform_keys(
    request: Request, operator: OperatorDep, factory: SessionFactoryDep, vault: VaultDep
) -> PlatformKeyService:
    actor = actor_of(request, "user", operator.id, operator.email)
    return PlatformKeyService(factory, vault, actor, client_address(request))


PlatformKeys = Annotated[PlatformKeyService, Depends(_platform_keys)]


@router.get("/seal")
def get_seal(operator: OperatorDep, session: SessionDep, vault: VaultDep) -> SealView:
    """Tells whether secrets can be read, and how far data keys are wrapped with the present key."""
    return service.view_seal(session, vault)


@router.post("/master-password", status_code=201)
def set_master_password(
    body: MasterPasswordCreate, keys: PlatformKeys, session: SessionDep, vault: VaultDep
) -> SealView:
    """Sets the first master password and unlocks the platform."""
    keys.set_password(body.password)
    return service.view_seal(session, vault)


@router.put("/master-password", status_code=204)
def change_master_password(body: MasterPasswordChange, keys: PlatformKeys) -> None:
    """Changes the master password; the old one ends at once, and nothing else changes."""
    keys.change_password(body.current_password, body.new_password)


@router.post("/unlock")
def unlock(body: Unlock, keys: PlatformKeys, session: SessionDep, vault: VaultDep) -> SealView:
    """Opens the keys with the master password, in every process of the deployment."""
    keys.unlock(body.password)
    return service.view_seal(session, vault)


@router.post("/seal")
def seal(keys: PlatformKeys, session: SessionDep, vault: VaultDep) -> SealView:
    """Forgets the keys in every process; secrets cannot be read until somebody unlocks again."""
    keys.seal()
    return service.view_seal(session, vault)


@router.post("/key-encryption-key/rotations", status_code=202)
def rotate_key_encryption_key(
    body: KeyRotationCreate, keys: PlatformKeys, session: SessionDep, vault: VaultDep
) -> KeyRotationView:
    """Wraps every organization's data keys with the newest key; all stays readable meanwhile."""
    keys.rotate(body.password)
    return service.view_rotation(session, vault)


@router.get("/key-encryption-key/rotations")
def get_key_encryption_key_rotation(
    operator: OperatorDep, session: SessionDep, vault: VaultDep
) -> KeyRotationView:
    """Tells how far the latest rotation is; keys from outside the database are tried on each."""
    return service.view_rotation(session, vault, opens_keys=True)


@router.post("/orgs/{slug}/data-key/rotations", status_code=202)
def rotate_data_key_of_org(slug: str, keys: PlatformKeys) -> DataKeyRotationView:
    """Encrypts an organization's secrets with a new key, also of a suspended or a deleted one."""
    return keys.rotate_data_key(slug)


@org_router.post("/rotations", status_code=202)
def rotate_data_key(
    caller: KeyWriter, factory: SessionFactoryDep, vault: VaultDep
) -> DataKeyRotationView:
    """Encrypts the organization's secrets with a new key; all stays readable meanwhile."""
    return service.rotate_data_key(factory, vault, caller.org_id, caller.actor)


@org_router.get("/rotations")
def get_data_key_rotation(
    caller: KeyReader, session: SessionDep, vault: VaultDep
) -> DataKeyRotationView:
    """Tells how far the latest rotation is."""
    return service.view_data_key_rotation(session, caller.org_id, vault)


@internal.get("/seal")
def get_seal_state(process: Process, session: SessionDep, vault: VaultDep) -> SealStateView:
    """Tells the platform's own processes whether runs would have to wait for their credentials."""
    return SealStateView(state=service.seal_state(session, vault))
