"""Rotates the key-encryption key: wraps every org's data keys with the first key there is now.

Online and resumable: each org is a transaction of its own, and what is left to do is read from the
data keys, so that any process goes on after any end of another one. Whoever reads or writes secrets
meanwhile is never refused: data keys stay as they are, and both keys open until the last one is
wrapped again. The docstring of `master_password` says what holds beside other operations on keys.
"""

import logging
import time
from dataclasses import dataclass

from sqlalchemy.orm import Session, sessionmaker

from control_plane.audit.service import SYSTEM, Actor, PlatformAuditLog
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import Invalid, Sealed
from control_plane.core.vault import Vault
from control_plane.keys.keyring import Keyring
from control_plane.keys.master_password import KeyOpener, MasterPassword
from control_plane.keys.models import KeyRotation
from control_plane.keys.password_wrapping import WrongPassword
from control_plane.keys.repository import DataKeyRepository, KeyRepository
from control_plane.tenancy.service import list_org_ids

RESOURCE = "key_encryption_key"
# A pass finds what a process with keys of a second ago has written; more than two mean trouble.
MAXIMUM_PASSES = 5
logger = logging.getLogger(__name__)


@dataclass
class Pass:
    """What one pass over all orgs did.

    Attributes:
        wrapped: Data keys that were wrapped with the first key.
        unreadable: Data keys that no key opens.
        is_whole: False where the time ran out.
    """

    wrapped: int = 0
    unreadable: int = 0
    is_whole: bool = True


class KeyRotator:
    """Rotates the key-encryption key.

    Args:
        factory: Makes sessions.
        vault: Unwraps and wraps.
        keyring: The vault's keys.
    """

    def __init__(self, factory: sessionmaker[Session], vault: Vault, keyring: Keyring) -> None:
        self._factory = factory
        self._vault = vault
        self._keyring = keyring

    def begin(self, actor: Actor, password: str | None) -> None:
        """Records the wish, and with a master password makes the key that wraps from now on.

        A rotation that is not completed is continued: no second key is made. A sealed platform is
        unlocked by it; one that is sealed while it begins stays sealed.

        Raises:
            Invalid: The master password is needed.
            WrongMasterPassword: It is another one.
            Sealed: There are no keys.
        """
        with transaction(self._factory) as session:
            has_rows = KeyRepository(session).newest_id() is not None
        needs_password = self._keyring.has_master_password or (
            has_rows and not self._keyring.opened()
        )
        if needs_password and password is None:
            raise Invalid.field(
                "/password", "is needed: the master password opens the keys that are replaced"
            )
        if password is not None and has_rows:
            self._begin_with_password(actor, password)
        elif self._keyring.has_master_password:
            raise Sealed("There is no master password; set one first.")
        else:
            self._record_wish(actor, None)
        self._vault.require_keys()

    def advance(self, *, stop_at: float | None = None) -> bool:
        """Goes on with the rotation that is open, and returns whether none is open any more.

        Args:
            stop_at: When to leave the rest to others, on the monotonic clock; None for never.

        Raises:
            Sealed: This process does not have the key that wraps now.
        """
        with transaction(self._factory) as session:
            rotation = KeyRepository(session).find_open_rotation()
        if rotation is None:
            return True
        for _ in range(MAXIMUM_PASSES):
            self._require_newest()
            done = self._pass(stop_at)
            if not done.is_whole:
                return False
            if done.wrapped == 0 and self._finish(rotation.id, done.unreadable):
                return True
        return False

    def _begin_with_password(self, actor: Actor, password: str) -> None:
        master_password = MasterPassword(self._factory, self._keyring, actor)
        opener = master_password.open_keys(password, tried="rotate", resource=RESOURCE)
        try:
            was_open = self._record_wish(actor, opener)
        except WrongPassword:
            raise master_password.refused("rotate", RESOURCE) from None
        master_password.hand_over(
            opener,
            tried="rotate",
            resource=RESOURCE,
            recorded=None if was_open else "unlock",
            unless_sealed=was_open,
        )

    def _record_wish(self, actor: Actor, opener: KeyOpener | None) -> bool:
        """Records the wish and returns whether the platform was unlocked at that moment."""
        with transaction(self._factory) as session:
            keys = KeyRepository(session)
            keys.lock()
            if opener is not None:
                # The password may have been changed since: no row is wrapped with another one.
                opener.open(keys.list_keys())
            was_open = bool(self._keyring.opened_now())
            if keys.find_open_rotation() is None:
                PlatformAuditLog(session, actor).record("rotate", RESOURCE)
                keys.add(KeyRotation(requested_by=actor.name))
                if self._keyring.has_master_password and opener is not None:
                    keys.add(opener.make_row())
            return was_open

    def _drop_replaced(self) -> None:
        """Takes keys that have no row any more from every process; what is sealed stays sealed."""
        with transaction(self._factory) as session:
            keys = KeyRepository(session)
            keys.lock()
            known = {row.id for row in keys.list_keys()}
            opened = self._keyring.opened_now()
            kept = [key for key in opened if key.id in known]
            if len(kept) < len(opened):
                self._keyring.put(kept)

    def _require_newest(self) -> None:
        """Refuses to wrap with a key that another process has replaced."""
        self._vault.require_keys()
        if not self._keyring.has_master_password:
            return
        with transaction(self._factory) as session:
            newest_id = KeyRepository(session).newest_id()
        if self._keyring.keys()[0].id == newest_id:
            return
        self._keyring.refresh()
        if self._keyring.keys()[0].id != newest_id:
            raise Sealed(
                "The newest key-encryption key is not unlocked here; run `datanika unlock`, and "
                "the rotation goes on."
            )

    def _pass(self, stop_at: float | None) -> Pass:
        done = Pass()
        with transaction(self._factory) as session:
            org_ids = list_org_ids(session)
        for org_id in org_ids:
            if stop_at is not None and time.monotonic() > stop_at:
                done.is_whole = False
                return done
            with transaction(self._factory, org_id) as session:
                self._wrap_org(session, org_id, done)
        return done

    def _wrap_org(self, session: Session, org_id: int, done: Pass) -> None:
        repository = DataKeyRepository(session, org_id)
        if all(self._vault.is_current(key.wrapped_key) for key in repository.list_keys()):
            return
        for key in repository.lock_keys():
            session.refresh(key)
            if self._vault.is_current(key.wrapped_key):
                continue
            try:
                wrapped = self._vault.rewrap(key.wrapped_key)
            except Sealed:
                # Sealed meanwhile, or a key that is lost: the others are not given up for it.
                self._vault.require_keys()
                logger.warning("data key %s of org %s opens with no key", key.id, org_id)
                done.unreadable += 1
                continue
            key.wrapped_key = wrapped.text
            key.key_encryption_key_id = wrapped.key_encryption_key_id
            done.wrapped += 1

    def _finish(self, rotation_id: int, unreadable: int) -> bool:
        """Deletes the replaced keys and returns whether nothing needs them any more."""
        with transaction(self._factory) as session:
            keys = KeyRepository(session)
            keys.lock()
            replaced = list(keys.list_keys())[1 if self._keyring.has_master_password else 0 :]
            needed = [row.id for row in replaced if not keys.delete_unused(row.id)]
            if needed and not unreadable:
                return False
            if keys.complete_rotations(rotation_id, utc_now()):
                PlatformAuditLog(session, SYSTEM).record(
                    "rotation_completed", RESOURCE, new={"unreadable_data_keys": unreadable}
                )
        self._drop_replaced()
        return True
