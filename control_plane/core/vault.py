"""The vault: the only code that encrypts and decrypts tenants' secrets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cryptography.fernet import Fernet, MultiFernet

from control_plane.core import crypto
from control_plane.core.crypto import Binding
from control_plane.core.errors import Sealed

__all__ = ["Binding", "KeyEncryptionKey", "KeyProvider", "StaticKeys", "Vault", "WrappedKey"]

Answer = TypeVar("Answer")


@dataclass(frozen=True, repr=False)
class KeyEncryptionKey:
    """A key that wraps data keys.

    Attributes:
        id: Its row in `key_encryption_keys`; None for keys that come from outside the database.
        key: A Fernet key.
    """

    id: int | None
    key: str


class KeyProvider(Protocol):
    """Where the key-encryption keys come from."""

    def keys(self) -> Sequence[KeyEncryptionKey]:
        """Returns the keys; the first wraps, all unwrap.

        Raises:
            Sealed: There are none until somebody unlocks the platform.
        """
        ...

    def refresh(self) -> bool:
        """Reads the keys again where they may have changed, and tells whether they have."""
        ...

    def has_keys(self) -> bool:
        """Tells whether there are keys, as far as that is known without running anything."""
        ...


class StaticKeys:
    """Keys that are known from the start and never change.

    Args:
        encryption_keys: Fernet keys; the first wraps, all unwrap.
    """

    def __init__(self, encryption_keys: Sequence[str]) -> None:
        self._keys = tuple(KeyEncryptionKey(None, key) for key in encryption_keys)

    def keys(self) -> Sequence[KeyEncryptionKey]:
        """Returns the keys."""
        return self._keys

    def refresh(self) -> bool:
        """Tells that nothing has changed."""
        return False

    def has_keys(self) -> bool:
        """Tells whether there are any."""
        return bool(self._keys)


@dataclass(frozen=True)
class WrappedKey:
    """A data key, encrypted.

    Attributes:
        text: What is stored.
        key_encryption_key_id: What wrapped it; None for a key from outside the database.
    """

    text: str
    key_encryption_key_id: int | None


class Vault:
    """Encrypts secrets with an org's data key, which the key-encryption keys wrap.

    Args:
        provider: Gives the key-encryption keys, each time that one is needed.
    """

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider

    def __repr__(self) -> str:
        return "Vault(***)"

    @property
    def provider(self) -> KeyProvider:
        """Where the key-encryption keys come from."""
        return self._provider

    @property
    def is_sealed(self) -> bool:
        """True while there are no keys at all."""
        try:
            self.require_keys()
        except Sealed:
            return True
        return False

    @property
    def seems_sealed(self) -> bool:
        """The same as far as it is known: for who may ask, but not start a key command."""
        return not self._provider.has_keys()

    def require_keys(self) -> None:
        """Refuses work that will need a secret before it is begun.

        Raises:
            Sealed: There are no keys; the detail says what to do.
        """
        self._provider.keys()

    def new_data_key(self) -> WrappedKey:
        """Makes a data key for an org and returns it wrapped.

        Raises:
            Sealed: There is no key to wrap it with.
        """
        return self._wrap(Fernet.generate_key())

    def rewrap(self, wrapped_key: str) -> WrappedKey:
        """Returns a data key, wrapped by the first key-encryption key.

        Raises:
            Sealed: The data key cannot be unwrapped.
        """
        return self._wrap(self._data_key(wrapped_key))

    def opens(self, wrapped_key: str) -> bool:
        """Tells whether the keys of now unwrap this data key.

        Raises:
            Sealed: There are no keys.
        """
        try:
            crypto.unwrap_key(_kek(self._provider.keys()), wrapped_key)
        except crypto.DecryptionFailed:
            return False
        return True

    def is_current(self, wrapped_key: str) -> bool:
        """Tells whether the first key-encryption key wraps this data key.

        Raises:
            Sealed: There are no keys.
        """
        first = self._provider.keys()[0]
        try:
            crypto.unwrap_key(_kek([first]), wrapped_key)
        except crypto.DecryptionFailed:
            return False
        return True

    def encrypt(self, wrapped_key: str, binding: Binding, values: dict[str, str]) -> str:
        """Encrypts a row's secrets.

        Raises:
            Sealed: The org's data key cannot be unwrapped.
        """
        return crypto.seal(self._data_key(wrapped_key), binding, values)

    def decrypt(self, wrapped_key: str, binding: Binding, ciphertext: str) -> dict[str, str]:
        """Decrypts a row's secrets.

        Raises:
            Sealed: The org's data key cannot be unwrapped, or the ciphertext is not this row's.
        """
        try:
            return crypto.open_sealed(self._data_key(wrapped_key), binding, ciphertext)
        except crypto.DecryptionFailed:
            raise Sealed(
                f"The secrets of {binding.table} {binding.row_id} cannot be decrypted; "
                "they were stored with other keys or for another row."
            ) from None

    def _wrap(self, data_key: bytes) -> WrappedKey:
        first = self._provider.keys()[0]
        return WrappedKey(crypto.wrap_key(_kek([first]), data_key), first.id)

    def _data_key(self, wrapped_key: str) -> bytes:
        def unwrap() -> bytes:
            return crypto.unwrap_key(_kek(self._provider.keys()), wrapped_key)

        try:
            return _twice(unwrap, self._provider.refresh)
        except crypto.DecryptionFailed:
            raise Sealed(
                "None of the platform's encryption keys opens this organization's data key. An "
                "operator sees with `datanika keys status` which keys are missing."
            ) from None


def _twice(attempt: Callable[[], Answer], refresh: Callable[[], bool]) -> Answer:
    """Tries again with the keys of now, which another process may have replaced."""
    try:
        return attempt()
    except crypto.DecryptionFailed:
        if not refresh():
            raise
        return attempt()


def _kek(keys: Sequence[KeyEncryptionKey]) -> MultiFernet:
    return MultiFernet([Fernet(key.key) for key in keys])
