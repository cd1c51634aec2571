"""Encryption keys that are the same in every process: names of tests may hold them."""

import base64
import hashlib


def fixed_key(name: str) -> str:
    """Returns a Fernet key that depends on `name` alone."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode()
