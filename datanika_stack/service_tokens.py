"""Tokens with which the stack's own processes prove to the control plane what they are.

The control plane verifies them (`control_plane/access`); the claims are the contract between the two.
"""

import time
import uuid
from enum import StrEnum
from typing import Any, Final

import jwt

_ALGORITHM: Final = "HS256"
_LIFETIME_SECONDS: Final = 365 * 24 * 3600


class ServiceRole(StrEnum):
    """What a process of the stack is to the control plane."""

    SUPERVISOR = "supervisor"
    LAUNCHER = "launcher"
    GATEWAY = "gateway"
    CONTROL_PLANE = "control_plane"
    CODE_LOCATION = "code_location"


def mint(secret_key: str, role: ServiceRole, org: str | None = None) -> str:
    """Returns a signed token.

    Args:
        secret_key: `DATANIKA_SECRET_KEY`.
        role: What the holder is.
        org: Slug of the org that a code location belongs to.
    """
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "datanika",
        "aud": "datanika-service",
        "sub": role.value,
        "iat": now,
        "exp": now + _LIFETIME_SECONDS,
        "jti": uuid.uuid4().hex,
    }
    if org is not None:
        claims["org"] = org
    return jwt.encode(claims, secret_key, algorithm=_ALGORITHM)
