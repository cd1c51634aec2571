"""The platform's key-encryption keys from wherever they come; one way to make the vault.

Keys of the environment decrypt beside every other provider, and those of a master password do beside
all: so a deployment moves from one provider to another by a rotation, while everything stays readable.
"""

import logging
from collections.abc import Sequence

from control_plane.core.errors import Sealed
from control_plane.core.key_sources import FixedKeys, KeyCommand, KeyFile, KeySource
from control_plane.core.vault import KeyEncryptionKey, Vault
from control_plane.keys.agent import KeyAgent
from control_plane.keys.unlocked import KeysInAgent, KeysInProcess, UnlockedKeys
from control_plane.settings import KeyProviderKind, Settings

SEALED = (
    "The platform is sealed. An operator unlocks it with `datanika unlock` (a new one first gets "
    "its master password with `datanika keys set-password`)."
)
logger = logging.getLogger(__name__)


class Keyring:
    """A `KeyProvider` of the settings' choice.

    Args:
        kind: Whose key wraps: the master password's or the source's.
        sources: Keys from outside the database, the provider's own first; there may be none beside
            a master password.
        unlocked: What the master password has opened.
    """

    def __init__(
        self, kind: KeyProviderKind, sources: Sequence[KeySource], unlocked: UnlockedKeys
    ) -> None:
        self.kind = kind
        self._unlocked = unlocked
        self._sources = tuple(sources)
        self._had_unlocked = False

    def __repr__(self) -> str:
        return f"Keyring({self.kind}, ***)"

    @property
    def has_master_password(self) -> bool:
        """True where the master password's key wraps."""
        return self.kind == KeyProviderKind.MASTER_PASSWORD

    def keys(self) -> Sequence[KeyEncryptionKey]:
        """Returns the keys; the first wraps, all unwrap.

        Raises:
            Sealed: Nobody has unlocked the platform, or the source gives no keys.
        """
        if not self.has_master_password:
            # The agent is asked only where it once had something: it may well not be there.
            return (*self._outside(), *(self.opened() if self._had_unlocked else ()))
        opened = self._unlocked.get()
        if not opened:
            raise Sealed(SEALED)
        return (*opened, *self._outside())

    def refresh(self) -> bool:
        """Reads the keys again where they may have changed, and tells whether they have."""
        # Each of them, whatever the one before says.
        refreshed = [source.refresh() for source in self._sources]
        has_other_source = any(refreshed)
        if self.has_master_password:
            return self._unlocked.refresh() or has_other_source
        had_unlocked = self._had_unlocked
        has_others = self._unlocked.refresh()
        self._had_unlocked = bool(self.opened())
        return has_other_source or has_others or self._had_unlocked != had_unlocked

    def has_keys(self) -> bool:
        """Tells whether there are keys, as far as that is known without running a command."""
        has_first = not self.has_master_password or bool(self.opened())
        return has_first and all(source.has_keys() for source in self._sources)

    def opened(self) -> tuple[KeyEncryptionKey, ...]:
        """Returns the keys that the master password has opened, newest first; none while sealed."""
        try:
            return self._unlocked.get()
        except Sealed:
            return ()

    def opened_now(self) -> tuple[KeyEncryptionKey, ...]:
        """Returns the same as the agent has it now, not a second ago.

        Under the lock of all keys nobody changes it afterwards.
        """
        self._unlocked.refresh()
        return self.opened()

    def put(self, keys: Sequence[KeyEncryptionKey]) -> None:
        """Makes these the opened keys, in every process that asks the agent.

        Raises:
            Unavailable: The agent cannot be reached.
        """
        self._unlocked.put(keys)
        self._had_unlocked = bool(keys)

    def clear(self) -> None:
        """Forgets the opened keys, in every process that asks the agent.

        Raises:
            Unavailable: The agent cannot be reached.
        """
        self._unlocked.clear()

    def _outside(self) -> tuple[KeyEncryptionKey, ...]:
        outside: list[str] = []
        for source in self._sources:
            outside.extend(source.keys())
        return tuple(KeyEncryptionKey(None, key) for key in outside)


def make_vault(settings: Settings) -> Vault:
    """Makes the vault of a process, the same for every process of a deployment.

    Raises:
        Sealed: A key of the environment is malformed or weak.
    """
    socket_path = settings.key_agent_socket
    unlocked = KeysInProcess() if socket_path is None else KeysInAgent(KeyAgent(socket_path))
    vault = Vault(Keyring(settings.key_provider, _make_sources(settings), unlocked))
    if settings.key_provider in (KeyProviderKind.FILE, KeyProviderKind.COMMAND):
        _warn_without_keys(vault)
    return vault


def _make_sources(settings: Settings) -> list[KeySource]:
    sources: list[KeySource] = []
    if settings.key_provider == KeyProviderKind.FILE and settings.encryption_keys_file:
        sources.append(KeyFile(settings.encryption_keys_file))
    if settings.key_provider == KeyProviderKind.COMMAND and settings.encryption_keys_command:
        sources.append(KeyCommand(settings.encryption_keys_command.get_secret_value()))
    keys = settings.encryption_key_list()
    if keys:
        sources.append(FixedKeys(keys, "DATANIKA_ENCRYPTION_KEYS"))
    return sources


def _warn_without_keys(vault: Vault) -> None:
    """Says at once what is wrong; the platform starts sealed, and opens when the source does."""
    try:
        vault.require_keys()
    except Sealed as error:
        logger.warning("sealed: %s", error.detail)
