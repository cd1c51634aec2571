"""Tells keys that were made at random from those that somebody typed, copied or forgot to change.

No test proves that a key is random; these find the ones that are not by far: short, one character
again and again, a pattern, the alphabet, a word like `changeme`.
"""

import base64
import binascii
from collections.abc import Sequence
from itertools import pairwise

MINIMUM_SECRET_KEY_BYTES = 32
MINIMUM_DIFFERENT = 10
FERNET_KEY_BYTES = 32
# In lower case; six letters at least, so that a random key has none of them but once in a million.
PLACEHOLDERS = (
    "changeme", "change-me", "change_me", "change this", "default", "example", "insecure",
    "password", "placeholder", "replace", "secret", "datanika", "qwertz", "qwerty",
)  # fmt: skip


def secret_key_problem(key: str) -> str | None:
    """Returns what is wrong with a key that signs tokens, None when it can be used."""
    if len(key.encode()) < MINIMUM_SECRET_KEY_BYTES:
        return f"must have at least {MINIMUM_SECRET_KEY_BYTES} bytes"
    if any(word in key.lower() for word in PLACEHOLDERS) or _is_patterned(key.encode()):
        return "must be a random key, not a default or a pattern"
    return None


def fernet_key_problem(key: str) -> str | None:
    """Returns what is wrong with a Fernet key, None when it can be used."""
    try:
        decoded = base64.b64decode(key, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != FERNET_KEY_BYTES:
        return "must be a Fernet key (32 bytes, URL-safe base64)"
    # 32 random bytes are never all printable: somebody encoded a text.
    is_text = all(32 <= byte < 127 for byte in decoded)
    if is_text or _is_patterned(decoded) or secret_key_problem(key) is not None:
        return "must be a random key, not a default or a pattern"
    return None


def _is_patterned(values: Sequence[int]) -> bool:
    if len(set(values)) < MINIMUM_DIFFERENT:
        return True
    steps = {(after - before) % 256 for before, after in pairwise(values)}
    return len(steps) < MINIMUM_DIFFERENT or _repeats(values)


def _repeats(values: Sequence[int]) -> bool:
    lengths = range(1, len(values) // 2 + 1)
    return any(all(a == b for a, b in zip(values, values[n:], strict=False)) for n in lengths)
