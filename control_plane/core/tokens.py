"""Opaque random tokens: handed out once, kept only as a SHA-256.

They carry 256 random bits, so a plain SHA-256 at rest cannot be searched; bcrypt is for passwords.
"""

import hashlib
import secrets

TOKEN_BYTES = 32


def new_token(prefix: str) -> str:
    """Returns a fresh token that starts with `prefix`."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Returns the hexadecimal SHA-256 under which a token is stored."""
    # JSON can carry half a surrogate pair, which is no UTF-8: just another unknown token.
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
