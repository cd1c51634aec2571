"""Finishes rotations that some process has begun and not ended: a job of the worker."""

import time

from sqlalchemy.orm import Session, sessionmaker

from control_plane.core.database import transaction
from control_plane.core.vault import Vault
from control_plane.keys.data_keys import resume_rotations
from control_plane.keys.keyring import Keyring
from control_plane.keys.repository import KeyRepository
from control_plane.keys.rotation import KeyRotator

# Looking at every org's keys costs a transaction each; the request that begins a rotation works on
# it itself, and this is only for what was left behind.
ALL_ORGS_SECONDS = 30.0


class KeyMaintenance:
    """Goes on with every rotation that is open.

    Args:
        factory: Makes sessions.
        vault: The process's.
    """

    def __init__(self, factory: sessionmaker[Session], vault: Vault) -> None:
        self._factory = factory
        self._vault = vault
        self._next_at = float("-inf")

    def run_once(self) -> None:
        """Does one pass; a sealed platform is left as it is until somebody unlocks it.

        Raises:
            Sealed: The newest key was made elsewhere and is not unlocked here.
        """
        if time.monotonic() < self._next_at or self._vault.is_sealed:
            return
        self._next_at = time.monotonic() + ALL_ORGS_SECONDS
        resume_rotations(self._factory, self._vault)
        with transaction(self._factory) as session:
            is_open = KeyRepository(session).find_open_rotation() is not None
        if is_open and isinstance(self._vault.provider, Keyring):
            KeyRotator(self._factory, self._vault, self._vault.provider).advance()
