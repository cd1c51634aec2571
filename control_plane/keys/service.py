"""What operators and owners do with keys, and how far it is; puts the parts together.

What changes keys works in transactions of its own: the next step may only be taken when the one
before is committed.
"""

import time
from datetime import timedelta

from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.throttling.service import Limit, Throttle, client_network
from control_plane.audit.service import Actor
from control_plane.core.database import enter_org, transaction
from control_plane.core.errors import InvalidState, Sealed
from control_plane.core.vault import Vault
from control_plane.keys.data_keys import DataKeyRotator
from control_plane.keys.keyring import Keyring
from control_plane.keys.master_password import MasterPassword
from control_plane.keys.repository import DataKeyRepository, KeyRepository
from control_plane.keys.rotation import KeyRotator
from control_plane.keys.schemas import (
    DataKeyCounts,
    DataKeyRotationView,
    KeyRotationView,
    SealState,
    SealView,
)
from control_plane.tenancy.ciphertexts import OrgCiphertexts
from control_plane.tenancy.errors import KeysDestroyed
from control_plane.tenancy.service import get_platform_org, list_org_ids

# A request works on the rotation that it begins, and leaves what takes longer to the worker.
REQUEST_SECONDS = 15.0
UNLOCK_WINDOW = timedelta(minutes=15)
UNLOCKS_PER_ADDRESS = 10
UNLOCKS = 30


def keyring_of(vault: Vault) -> Keyring:
    """Returns the vault's keyring.

    Raises:
        InvalidState: Its keys are fixed, as in a process that was made by hand.
    """
    if not isinstance(vault.provider, Keyring):
        raise InvalidState("The keys of this process are fixed.")
    return vault.provider


class PlatformKeyService:
    """The platform's keys, as operators handle them; guesses at the master password are bounded.

    Args:
        factory: Makes sessions.
        vault: The process's.
        actor: The operator.
        address: From where the request came, where that is known.
    """

    def __init__(
        self, factory: sessionmaker[Session], vault: Vault, actor: Actor, address: str | None
    ) -> None:
        keyring = keyring_of(vault)
        self._factory = factory
        self._vault = vault
        self._actor = actor
        self._address = address
        self._throttle = Throttle(factory)
        self._master_password = MasterPassword(factory, keyring, actor)
        self._rotator = KeyRotator(factory, vault, keyring)

    def set_password(self, password: SecretStr) -> None:
        """Sets the first master password and unlocks the platform.

        Raises:
            Invalid: The password is too short.
            InvalidState: The keys come from elsewhere.
            Conflict: There is a master password already.
        """
        self._master_password.set(password.get_secret_value())

    def unlock(self, password: SecretStr) -> None:
        """Unlocks the platform.

        Raises:
            InvalidState: No master password was set.
            WrongMasterPassword: It is another one; counted.
            Throttled: Too many wrong ones.
            Unavailable: The key agent does not answer.
        """
        counted = self._throttle.count(*self._limits())
        self._master_password.unlock(password.get_secret_value())
        self._throttle.give_back(counted)

    def seal(self) -> None:
        """Forgets the opened keys.

        Raises:
            InvalidState: The keys come from elsewhere.
            Unavailable: The key agent does not answer.
        """
        self._master_password.seal()

    def change_password(self, current_password: SecretStr, new_password: SecretStr) -> None:
        """Changes the master password.

        Raises:
            Invalid: The new password is too short.
            InvalidState: No master password was set.
            WrongMasterPassword: The current one is another; counted.
            Throttled: Too many wrong ones.
        """
        counted = self._throttle.count(*self._limits())
        self._master_password.change(
            current_password.get_secret_value(), new_password.get_secret_value()
        )
        self._throttle.give_back(counted)

    def rotate(self, password: SecretStr | None) -> None:
        """Rotates the key-encryption key, as far as a request may take.

        Raises:
            Invalid: The master password is needed.
            WrongMasterPassword: It is another one; counted.
            Throttled: Too many wrong ones.
            Sealed: There are no keys.
        """
        counted = self._throttle.count(*self._limits()) if password is not None else []
        self._rotator.begin(self._actor, password.get_secret_value() if password else None)
        self._throttle.give_back(counted)
        self._rotator.advance(stop_at=time.monotonic() + REQUEST_SECONDS)

    def rotate_data_key(self, slug: str) -> DataKeyRotationView:
        """Rotates the data key of an org, also of a suspended or a deleted one.

        Raises:
            NotFound: No org has this slug.
            Sealed: There are no keys.
            KeysDestroyed: The org has no data key any more.
        """
        with transaction(self._factory) as session:
            org_id = get_platform_org(session, slug).id
        rotator = DataKeyRotator(self._factory, self._vault, org_id)
        rotator.begin(self._actor, by_operator=True)
        return _advance_data_key(self._factory, self._vault, org_id)

    def _limits(self) -> list[Limit]:
        """Returns what bounds the guesses at the master password: one address's, and all."""
        limits = [Limit("master_password", "platform", UNLOCKS, UNLOCK_WINDOW)]
        if self._address is not None:
            subject = client_network(self._address)
            limit = Limit("master_password_address", subject, UNLOCKS_PER_ADDRESS, UNLOCK_WINDOW)
            limits.insert(0, limit)
        return limits


def rotate_data_key(
    factory: sessionmaker[Session], vault: Vault, org_id: int, actor: Actor
) -> DataKeyRotationView:
    """Rotates an org's data key, as far as a request may take.

    Raises:
        Sealed: There are no keys.
        KeysDestroyed: The org has no data key any more.
    """
    DataKeyRotator(factory, vault, org_id).begin(actor)
    return _advance_data_key(factory, vault, org_id)


def _advance_data_key(
    factory: sessionmaker[Session], vault: Vault, org_id: int
) -> DataKeyRotationView:
    rotator = DataKeyRotator(factory, vault, org_id)
    rotator.advance(stop_at=time.monotonic() + REQUEST_SECONDS)
    with transaction(factory, org_id) as session:
        return view_data_key_rotation(session, org_id, vault)


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
    """Returns the state, and how many data keys the present key wraps."""
    return SealView(
        provider=keyring_of(vault).kind,
        state=seal_state(session, vault),
        detail=_reason(vault),
        data_keys=count_data_keys(session, vault),
    )


def view_rotation(session: Session, vault: Vault, *, opens_keys: bool = False) -> KeyRotationView:
    """Returns the latest rotation of the key-encryption key.

    Args:
        session: In no org; it is in none afterwards, too.
        vault: The process's.
        opens_keys: Whether data keys are opened where nothing else tells what wraps them; this
            takes two statements for each org.
    """
    row = KeyRepository(session).find_rotation()
    counts = count_data_keys(session, vault)
    if opens_keys and counts.current is None and not vault.is_sealed:
        counts = _count_by_opening(session, vault)
    return KeyRotationView(
        state="running" if row is not None and row.completed_at is None else "idle",
        requested_by=row.requested_by if row else None,
        requested_at=row.requested_at if row else None,
        completed_at=row.completed_at if row else None,
        data_keys=counts,
    )


def count_data_keys(session: Session, vault: Vault) -> DataKeyCounts:
    """Counts every org's data keys, and those of the present key where their rows tell."""
    repository = KeyRepository(session)
    counts = repository.count_data_keys()
    # A row names the master password's key that wraps it, and none for a key from outside.
    current: int | None
    if keyring_of(vault).has_master_password:
        newest_id = repository.newest_id()
        current = 0 if newest_id is None else counts.get(newest_id, 0)
    else:
        current = None if counts.get(None) else 0
    return DataKeyCounts(total=sum(counts.values()), current=current)


def _count_by_opening(session: Session, vault: Vault) -> DataKeyCounts:
    """Counts data keys org by org, as row-level security wants it; ends in no org."""
    total, current = 0, 0
    for org_id in list_org_ids(session):
        enter_org(session, org_id)
        keys = DataKeyRepository(session, org_id).list_keys()
        total += len(keys)
        current += sum(vault.is_current(key.wrapped_key) for key in keys)
    enter_org(session, None)
    return DataKeyCounts(total=total, current=current)


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
