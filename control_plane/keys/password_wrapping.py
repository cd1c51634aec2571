"""Wraps key-encryption keys with a key that scrypt derives from the master password (RFC 7914).

The parameters and the salt are stored beside each wrapped key, the password nowhere. One
derivation takes 128 MiB: only one runs at a time in a process, so that requests cannot use up
the machine's memory.
"""

import base64
import hashlib
import os
import threading
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from control_plane.core.errors import Invalid, Throttled

KDF = "scrypt"
# docs/decisions/0072-scrypt-parameters.md has what they cost.
COST, BLOCK_SIZE, PARALLELISM = 2**17, 8, 1
SALT_BYTES = 16
KEY_BYTES = 32
MINIMUM_CHARACTERS = 12
MAXIMUM_CHARACTERS = 1000
# What a row may ask for: whoever can write the table must not be able to stop the process with it.
MAXIMUM_MEMORY_BYTES = 2**30
# OpenSSL counts a little more than the 128 * N * r bytes of RFC 7914, section 2.
MEMORY_MARGIN_BYTES = 2**22
WAIT_SECONDS = 10.0
_ONE_AT_A_TIME = threading.Lock()


class WrongPassword(Exception):
    """The password does not open the key."""


@dataclass(frozen=True, repr=False)
class WrappedByPassword:
    """A key, and everything but the password that is needed to open it."""

    text: str
    kdf: str
    kdf_parameters: dict[str, Any]
    salt: str


def check_password(password: str, pointer: str) -> str:
    """Returns the password in the form that is derived from, where it is long enough.

    Args:
        password: As it was typed.
        pointer: The field, for the error.

    Raises:
        Invalid: Too short or too long.
    """
    normal = unicodedata.normalize("NFKC", password)
    if not MINIMUM_CHARACTERS <= len(normal) <= MAXIMUM_CHARACTERS:
        raise Invalid.field(
            pointer,
            f"has {len(normal)} characters; {MINIMUM_CHARACTERS} to {MAXIMUM_CHARACTERS} are "
            "allowed",
        )
    return normal


def wrap(password: str, key: str) -> WrappedByPassword:
    """Encrypts a key-encryption key with a fresh salt.

    Raises:
        Throttled: Other derivations are going on.
    """
    salt = os.urandom(SALT_BYTES)
    parameters = {"n": COST, "r": BLOCK_SIZE, "p": PARALLELISM}
    text = Fernet(_derive(password, salt, parameters)).encrypt(key.encode()).decode()
    return WrappedByPassword(text, KDF, parameters, base64.b64encode(salt).decode())


def unwrap(password: str, wrapped: WrappedByPassword) -> str:
    """Returns the key-encryption key.

    Raises:
        WrongPassword: The password is another one.
        ValueError: The row was not made by this program.
        Throttled: Other derivations are going on.
    """
    if wrapped.kdf != KDF:
        raise ValueError(f"the key derivation '{wrapped.kdf}' is not known; known: {KDF}")
    derived = _derive(password, base64.b64decode(wrapped.salt), wrapped.kdf_parameters)
    try:
        return Fernet(derived).decrypt(wrapped.text.encode()).decode()
    except InvalidToken:
        raise WrongPassword from None


def _derive(password: str, salt: bytes, parameters: dict[str, Any]) -> bytes:
    cost, block_size, parallelism = (int(parameters[name]) for name in ("n", "r", "p"))
    memory_bytes = 128 * cost * block_size
    if memory_bytes > MAXIMUM_MEMORY_BYTES:
        raise ValueError(f"a key derivation of {memory_bytes} bytes is refused")
    normal = unicodedata.normalize("NFKC", password).encode()
    with _turn():
        derived = hashlib.scrypt(
            normal,
            salt=salt,
            n=cost,
            r=block_size,
            p=parallelism,
            maxmem=memory_bytes + MEMORY_MARGIN_BYTES,
            dklen=KEY_BYTES,
        )
    return base64.urlsafe_b64encode(derived)


@contextmanager
def _turn() -> Generator[None]:
    if not _ONE_AT_A_TIME.acquire(timeout=WAIT_SECONDS):
        raise Throttled(
            "Other passwords are being checked; try again in a moment.", retry_after_seconds=5
        )
    try:
        yield
    finally:
        _ONE_AT_A_TIME.release()
