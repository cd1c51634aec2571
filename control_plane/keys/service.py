"""Tells whether the platform is sealed and how far rotations are; puts the parts together."""

from sqlalchemy.orm import Session

from control_plane.core.database import enter_org
from control_plane.core.errors import InvalidState, Sealed
from control_plane.core.vault import Vault
from control_plane.keys.keyring import Keyring
from control_plane.keys.repository import DataKeyRepository, KeyRepository
from control_plane.keys.schemas import (
    DataKeyCounts,
    DataKeyRotationView,
    KeyRotationView,
    SealState,
    SealView,
)
from control_plane.tenancy.ciphertexts import OrgCiphertexts
from control_plane.tenancy.errors import KeysDestroyed
from control_plane.tenancy.service import list_org_ids


def keyring_of(vault: Vault) -> Keyring:
    """Returns the vault's keyring.

    Raises:
        InvalidState: Its keys are fixed, as in a process that was made by hand.
    """
    if not isinstance(vault.provider, Keyring):
        raise InvalidState("The keys of this process are fixed.")
    return vault.provider


def seal_state(session: Session, vault: Vault) -> SealState:
    """Returns whether secrets can be read now."""
    if not vault.is_sealed:
        return "unsealed"
    provider = vault.provider
    needs_password = isinstance(provider, Keyring) and provider.has_master_password
    if needs_password and KeyRepository(session).newest_id() is None:
        return "uninitialized"
    return "sealed"


def view_seal(session: Session, vault: Vault) -> SealView:
    """Returns the state, and how many data keys the present key wraps; the session ends in no org."""
    return SealView(
        provider=keyring_of(vault).kind,
        state=seal_state(session, vault),
        detail=_reason(vault),
        data_keys=count_data_keys(session, vault),
    )


def view_rotation(session: Session, vault: Vault) -> KeyRotationView:
    """Returns the latest rotation of the key-encryption key."""
    row = KeyRepository(session).find_rotation()
    counts = count_data_keys(session, vault)
    if row is None:
        return KeyRotationView(
            state="none", requested_by=None, requested_at=None, completed_at=None, data_keys=counts
        )
    return KeyRotationView(
        state="running" if row.completed_at is None else "completed",
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        completed_at=row.completed_at,
        data_keys=counts,
    )


def count_data_keys(session: Session, vault: Vault) -> DataKeyCounts:
    """Counts every org's data keys, org by org as row-level security wants it."""
    total, current = 0, 0
    is_sealed = vault.is_sealed
    for org_id in list_org_ids(session):
        enter_org(session, org_id)
        keys = DataKeyRepository(session, org_id).list_keys()
        total += len(keys)
        if not is_sealed:
            current += sum(vault.is_current(key.wrapped_key) for key in keys)
    enter_org(session, None)
    return DataKeyCounts(total=total, current=None if is_sealed else current)


def view_data_key_rotation(session: Session, org_id: int, vault: Vault) -> DataKeyRotationView:
    """Returns how far an org's rotation is.

    Raises:
        KeysDestroyed: The org has no data key any more.
    """
    keys = DataKeyRepository(session, org_id).list_keys()
    if not keys:
        raise KeysDestroyed("The keys of this organization were destroyed.")
    return DataKeyRotationView(
        state="idle" if len(keys) == 1 else "running",
        data_key_id=keys[0].id,
        created_at=keys[0].created_at,
        remaining=OrgCiphertexts(session, org_id, vault).count_older(keys[0].id),
    )


def _reason(vault: Vault) -> str | None:
    try:
        vault.require_keys()
    except Sealed as error:
        return error.detail
    return None
