"""Passwords: bcrypt with 12 rounds.

bcrypt reads 72 bytes and ignores the rest, so longer passwords are refused where they are set
instead of being cut silently.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager

import bcrypt

from control_plane.core.errors import Throttled

ROUNDS = 12
# bcrypt keeps a core and a thread of the server (of 40) busy for a quarter of a second: whoever
# floods the door from many addresses must leave threads for those who are inside.
MAXIMUM_AT_ONCE = 16
MINIMUM_CHARACTERS = 10
MAXIMUM_BYTES = 72

# Compared when an account does not exist, so that the answer takes as long as for one that does.
_NOBODYS_HASH = "$2b$12$CpoPG9IjHWuJSjGYoO8KF.6L1gzN4K64Q6Fp1g/rES4BZjTxhq5GW"


_slots = threading.BoundedSemaphore(MAXIMUM_AT_ONCE)


@contextmanager
def password_slot() -> Generator[None]:
    """Holds one of the process's places for work with passwords while the block runs.

    Raises:
        Throttled: All are taken; nobody waits, so that no thread does.
    """
    if not _slots.acquire(blocking=False):
        raise Throttled("Too many people sign in at this moment; try again.", retry_after_seconds=1)
    try:
        yield
    finally:
        _slots.release()


def password_problem(password: str) -> str | None:
    """Returns what is wrong with a new password, None when it can be used."""
    if len(password) < MINIMUM_CHARACTERS:
        return f"must have at least {MINIMUM_CHARACTERS} characters"
    if "\x00" in password or any("\ud800" <= c <= "\udfff" for c in password):
        return "must not contain a NUL character or half a surrogate pair"
    if len(password.encode()) > MAXIMUM_BYTES:
        return f"must have at most {MAXIMUM_BYTES} bytes in UTF-8"
    return None


def hash_password(password: str) -> str:
    """Returns the bcrypt hash of a password that `password_problem` has accepted.

    Raises:
        Throttled: There is no place for the work now.
    """
    with password_slot():
        return bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()


def verify_password(password: str, password_hash: str | None) -> bool:
    """Tells whether the password fits; takes as long for a missing hash as for a wrong password.

    Raises:
        Throttled: There is no place for the work now.
    """
    # JSON can carry half a surrogate pair, which is no UTF-8: no password that was set has one.
    encoded = password.encode(errors="surrogatepass")
    hashed = (password_hash or _NOBODYS_HASH).encode()
    with password_slot():
        matches = bcrypt.checkpw(encoded[:MAXIMUM_BYTES], hashed)
    return matches and password_hash is not None and len(encoded) <= MAXIMUM_BYTES
