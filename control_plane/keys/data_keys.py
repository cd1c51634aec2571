"""Rotates one org's data key: a newer one, every ciphertext encrypted again, the old one deleted.

Online and resumable: from the moment that the newer key is there, everything new is encrypted with
it, so an org with more than one data key is one whose rotation is not finished. The database refuses
to delete a key that a row still names.
"""

import logging
import time

from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from control_plane.audit.service import SYSTEM, Actor, AuditLog, PlatformAuditLog
from control_plane.core.database import transaction
from control_plane.core.vault import Vault
from control_plane.keys.repository import DataKeyRepository
from control_plane.tenancy.ciphertexts import OrgCiphertexts, tables_with_secrets
from control_plane.tenancy.errors import KeysDestroyed
from control_plane.tenancy.models import DataKey
from control_plane.tenancy.secrets import OrgSecrets
from control_plane.tenancy.service import get_organization, list_org_ids

RESOURCE = "data_key"
BATCH_ROWS = 50
MAXIMUM_PASSES = 5
# As long as most transactions are: the one that was in the way has ended by then.
PAUSE_SECONDS = 0.2
logger = logging.getLogger(__name__)


class DataKeyRotator:
    """Rotates the data key of one org.

    Args:
        factory: Makes sessions.
        vault: Encrypts and decrypts.
        org_id: The org.
    """

    def __init__(self, factory: sessionmaker[Session], vault: Vault, org_id: int) -> None:
        self._factory = factory
        self._vault = vault
        self._org_id = org_id

    def begin(self, actor: Actor, *, by_operator: bool = False) -> None:
        """Adds the newer key, unless a rotation is under way already.

        Args:
            actor: Who asks.
            by_operator: Whether it is recorded in the platform's log, too.

        Raises:
            Sealed: There are no keys to wrap it with.
            KeysDestroyed: The org has no data key any more.
        """
        self._vault.require_keys()
        with transaction(self._factory, self._org_id) as session:
            keys = DataKeyRepository(session, self._org_id)
            keys.lock()
            present = keys.list_keys()
            if not present:
                raise KeysDestroyed("The keys of this organization were destroyed.")
            if len(present) > 1:
                return
            key = OrgSecrets(session, self._org_id, self._vault).add_data_key()
            AuditLog(session, self._org_id, actor).record("rotate", RESOURCE, key.id)
            if by_operator:
                slug = get_organization(session, self._org_id).slug
                log = PlatformAuditLog(session, actor)
                log.record("rotate", RESOURCE, key.id, new={"slug": slug})

    def advance(self, *, stop_at: float | None = None) -> bool:
        """Goes on with a rotation, and returns whether only the newest key is left.

        Args:
            stop_at: When to leave the rest to others, on the monotonic clock; None for never.

        Raises:
            Sealed: There are no keys.
        """
        self._vault.require_keys()
        for _ in range(MAXIMUM_PASSES):
            with transaction(self._factory, self._org_id) as session:
                keys = DataKeyRepository(session, self._org_id).list_keys()
            if len(keys) < 2:
                return True
            if not self._pass(keys[0].id, stop_at):
                return False
            if self._delete_before(keys[0].id):
                return True
            time.sleep(PAUSE_SECONDS)
        return False

    def _pass(self, newest_id: int, stop_at: float | None) -> bool:
        """Encrypts every row again, and returns whether there was time for all."""
        for table in tables_with_secrets():
            after_id: int | None = 0
            while after_id is not None:
                if stop_at is not None and time.monotonic() > stop_at:
                    return False
                with transaction(self._factory, self._org_id) as session:
                    newest = session.get_one(DataKey, newest_id)
                    ciphertexts = OrgCiphertexts(session, self._org_id, self._vault)
                    batch = ciphertexts.encrypt_again(table, newest, after_id, BATCH_ROWS)
                if batch.unreadable:
                    logger.warning(
                        "%s rows of %s of org %s open with no key",
                        batch.unreadable,
                        table.name,
                        self._org_id,
                    )
                after_id = batch.last_id
        return True

    def _delete_before(self, newest_id: int) -> bool:
        """Deletes the older keys, and returns whether nothing needs them any more."""
        try:
            with transaction(self._factory, self._org_id) as session:
                deleted = DataKeyRepository(session, self._org_id).delete_before(newest_id)
                if deleted:
                    AuditLog(session, self._org_id, SYSTEM).record(
                        "rotation_completed", RESOURCE, newest_id
                    )
        except (IntegrityError, OperationalError):
            # Somebody was storing a secret with an older key, or still is: the next pass sees it.
            return False
        return True


def resume_rotations(factory: sessionmaker[Session], vault: Vault) -> int:
    """Goes on with the rotation of every org that has one, and returns how many are unfinished.

    Raises:
        Sealed: There are no keys.
    """
    vault.require_keys()
    unfinished = 0
    with transaction(factory) as session:
        org_ids = list_org_ids(session)
    for org_id in org_ids:
        if not DataKeyRotator(factory, vault, org_id).advance():
            unfinished += 1
    return unfinished
