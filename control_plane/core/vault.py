"""The vault: the only code that encrypts and decrypts tenants' secrets."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, MultiFernet

from control_plane.core import crypto
from control_plane.core.crypto import Binding
from control_plane.core.errors import Sealed

__all__ = ["Binding", "Vault"]


class Vault:
    """Encrypts secrets with an org's data key, which the key-encryption keys wrap.

    Args:
        encryption_keys: Fernet keys; the first wraps, all unwrap.
    """

    def __init__(self, encryption_keys: Sequence[str]) -> None:
        self._kek = MultiFernet([Fernet(key) for key in encryption_keys])

    def __repr__(self) -> str:
        return "Vault(***)"

    def new_data_key(self) -> str:
        """Makes a data key for an org and returns it wrapped."""
        return crypto.wrap_key(self._kek, Fernet.generate_key())

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

    def _data_key(self, wrapped_key: str) -> bytes:
        try:
            return crypto.unwrap_key(self._kek, wrapped_key)
        except crypto.DecryptionFailed:
            raise Sealed(
                "None of DATANIKA_ENCRYPTION_KEYS opens this organization's data key."
            ) from None
