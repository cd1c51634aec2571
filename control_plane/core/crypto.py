"""Envelope encryption: an org's data key, wrapped by the platform's key-encryption keys.

Fernet (AES-128-CBC with HMAC-SHA256) throughout. Only `core/vault.py` may import this module.
"""

import json
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class DecryptionFailed(Exception):
    """The ciphertext was made with other keys, was changed, or belongs to another row."""


@dataclass(frozen=True)
class Binding:
    """The row that a ciphertext belongs to.

    Fernet has no associated data, so the binding is part of the plaintext and checked when it is
    read: a ciphertext that was moved to another org, table or row does not decrypt.
    """

    org_id: int
    table: str
    row_id: int

    def as_text(self) -> str:
        """Returns the text that is compared."""
        return f"{self.org_id}/{self.table}/{self.row_id}"


def wrap_key(kek: MultiFernet, data_key: bytes) -> str:
    """Returns `data_key`, encrypted with the first key-encryption key."""
    return kek.encrypt(data_key).decode()


def unwrap_key(kek: MultiFernet, wrapped: str) -> bytes:
    """Returns the data key.

    Raises:
        DecryptionFailed: None of the key-encryption keys opens it.
    """
    try:
        return kek.decrypt(wrapped.encode())
    except InvalidToken:
        raise DecryptionFailed from None


def seal(data_key: bytes, binding: Binding, values: dict[str, str]) -> str:
    """Encrypts `values` for one row."""
    plain = json.dumps({"binding": binding.as_text(), "values": values})
    return Fernet(data_key).encrypt(plain.encode()).decode()


def open_sealed(data_key: bytes, binding: Binding, ciphertext: str) -> dict[str, str]:
    """Decrypts what `seal` made for the same row.

    Raises:
        DecryptionFailed: Wrong key, changed ciphertext or another row's.
    """
    try:
        content = json.loads(Fernet(data_key).decrypt(ciphertext.encode()))
    except InvalidToken:
        raise DecryptionFailed from None
    if content["binding"] != binding.as_text():
        raise DecryptionFailed
    return content["values"]
