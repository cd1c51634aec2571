"""`/api/v1/system/…` for the platform's keys, and `/api/v1/orgs/{org}/data-key/rotations`.

What changes keys works in transactions of its own: the next step may only be taken when the one
before is committed.
"""

import time
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import SecretStr

from control_plane.access.caller import (
    Caller,
    OperatorDep,
    Require,
    RequireService,
    actor_of,
)
from control_plane.access.permissions import Permission
from control_plane.access.sessions.tokens import ServiceClaims, ServiceRole
from control_plane.access.throttling.service import Limit, Throttle, client_network
from control_plane.audit.service import Actor
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, VaultDep
from control_plane.core.requests import client_address
from control_plane.keys import service
from control_plane.keys.data_keys import DataKeyRotator
from control_plane.keys.master_password import MasterPassword
from control_plane.keys.rotation import KeyRotator
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

router = APIRouter(prefix="/system", tags=["platform"])
org_router = APIRouter(prefix="/orgs/{org}/data-key", tags=["keys"])
internal = APIRouter()

# A request works on the rotation that it begins, and leaves what takes longer to the worker.
REQUEST_SECONDS = 15.0
UNLOCK_WINDOW = timedelta(minutes=15)
UNLOCKS_PER_ADDRESS = 10
UNLOCKS = 30

Process = Annotated[
    ServiceClaims,
    Depends(RequireService(ServiceRole.LAUNCHER, ServiceRole.GATEWAY, ServiceRole.SUPERVISOR)),
]
KeyReader = Annotated[Caller, Depends(Require(Permission.DATA_KEY_READ))]
KeyWriter = Annotated[Caller, Depends(Require(Permission.DATA_KEY_WRITE))]


class PlatformKeys:
    """What the operators' endpoints share."""

    def __init__(
        self,
        request: Request,
        operator: OperatorDep,
        factory: SessionFactoryDep,
        vault: VaultDep,
    ) -> None:
        self.actor: Actor = actor_of(request, "user", operator.id, operator.email)
        self.keyring = service.keyring_of(vault)
        self.master_password = MasterPassword(factory, self.keyring, self.actor)
        self.rotator = KeyRotator(factory, vault, self.keyring)
        self._throttle = Throttle(factory)
        self._address = client_address(request)

    def limits(self) -> list[Limit]:
        """Returns what bounds the guesses at the master password: one address's, and all."""
        limits = [Limit("master_password", "platform", UNLOCKS, UNLOCK_WINDOW)]
        if self._address is not None:
            subject = client_network(self._address)
            limit = Limit("master_password_address", subject, UNLOCKS_PER_ADDRESS, UNLOCK_WINDOW)
            limits.insert(0, limit)
        return limits

    def unlock(self, password: SecretStr) -> None:
        """Unlocks the platform; wrong passwords count."""
        counted = self._throttle.count(*self.limits())
        self.master_password.unlock(password.get_secret_value())
        self._throttle.give_back(counted)

    def change(self, body: MasterPasswordChange) -> None:
        """Changes the master password; wrong ones count."""
        counted = self._throttle.count(*self.limits())
        self.master_password.change(
            body.current_password.get_secret_value(), body.new_password.get_secret_value()
        )
        self._throttle.give_back(counted)

    def rotate(self, password: SecretStr | None) -> None:
        """Rotates the key-encryption key; wrong passwords count."""
        counted = self._throttle.count(*self.limits()) if password is not None else []
        self.rotator.begin(self.actor, password.get_secret_value() if password else None)
        self._throttle.give_back(counted)
        self.rotator.advance(stop_at=time.monotonic() + REQUEST_SECONDS)


PlatformKeysDep = Annotated[PlatformKeys, Depends()]


@router.get("/seal")
def get_seal(operator: OperatorDep, session: SessionDep, vault: VaultDep) -> SealView:
    """Tells whether secrets can be read, and how far data keys are wrapped with the present key."""
    return service.view_seal(session, vault)


@router.post("/master-password", status_code=201)
def set_master_password(
    body: MasterPasswordCreate, keys: PlatformKeysDep, session: SessionDep, vault: VaultDep
) -> SealView:
    """Sets the first master password and unlocks the platform."""
    keys.master_password.set(body.password.get_secret_value())
    return service.view_seal(session, vault)


@router.put("/master-password", status_code=204)
def change_master_password(body: MasterPasswordChange, keys: PlatformKeysDep) -> None:
    """Changes the master password; the old one ends at once, and nothing else changes."""
    keys.change(body)


@router.post("/unlock")
def unlock(body: Unlock, keys: PlatformKeysDep, session: SessionDep, vault: VaultDep) -> SealView:
    """Opens the keys with the master password, in every process of the deployment."""
    keys.unlock(body.password)
    return service.view_seal(session, vault)


@router.post("/seal")
def seal(keys: PlatformKeysDep, session: SessionDep, vault: VaultDep) -> SealView:
    """Forgets the keys in every process; secrets cannot be read until somebody unlocks again."""
    keys.master_password.seal()
    return service.view_seal(session, vault)


@router.post("/key-encryption-key/rotations", status_code=202)
def rotate_key_encryption_key(
    body: KeyRotationCreate, keys: PlatformKeysDep, session: SessionDep, vault: VaultDep
) -> KeyRotationView:
    """Wraps every organization's data keys with the newest key; all stays readable meanwhile."""
    keys.rotate(body.password)
    return service.view_rotation(session, vault)


@router.get("/key-encryption-key/rotations")
def get_key_encryption_key_rotation(
    operator: OperatorDep, session: SessionDep, vault: VaultDep
) -> KeyRotationView:
    """Tells how far the latest rotation is."""
    return service.view_rotation(session, vault)


@org_router.post("/rotations", status_code=202)
def rotate_data_key(
    caller: KeyWriter, session: SessionDep, factory: SessionFactoryDep, vault: VaultDep
) -> DataKeyRotationView:
    """Encrypts the organization's secrets with a new key; all stays readable meanwhile."""
    rotator = DataKeyRotator(factory, vault, caller.org_id)
    rotator.begin(caller.actor)
    rotator.advance(stop_at=time.monotonic() + REQUEST_SECONDS)
    return service.view_data_key_rotation(session, caller.org_id, vault)


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
