"""Signed tokens (JWT, HS256): access tokens, the UI cookie and service tokens.

One algorithm, one audience per use, and every claim required: a token of one use is refused for
another.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

import jwt

from control_plane.core.clock import utc_now
from control_plane.core.errors import Unauthorized

ALGORITHM = "HS256"
ISSUER = "datanika"
MINIMUM_KEY_BYTES = 32
ACCESS_LIFETIME = timedelta(minutes=15)
SERVICE_LIFETIME = timedelta(days=365)
REQUIRED_CLAIMS = ["exp", "iat", "sub", "jti", "aud", "iss"]


class Audience(StrEnum):
    """What a token is for."""

    API = "datanika-api"
    COOKIE = "datanika-session"
    SERVICE = "datanika-service"


class ServiceRole(StrEnum):
    """The processes of the platform that call the control plane or Dagster."""

    SUPERVISOR = "supervisor"
    LAUNCHER = "launcher"
    GATEWAY = "gateway"
    CONTROL_PLANE = "control_plane"
    CODE_LOCATION = "code_location"


@dataclass(frozen=True)
class UserClaims:
    """What an access token or a cookie says."""

    user_id: int
    session_id: int


@dataclass(frozen=True)
class ServiceClaims:
    """What a service token says; `org` is set for code locations."""

    role: ServiceRole
    org: str | None


class TokenSigner:
    """Makes and checks the signed tokens.

    Args:
        secret_key: At least 32 bytes (RFC 7518, section 3.2).

    Raises:
        ValueError: The key is shorter.
    """

    def __init__(self, secret_key: str) -> None:
        if len(secret_key.encode()) < MINIMUM_KEY_BYTES:
            raise ValueError(f"the signing key must have at least {MINIMUM_KEY_BYTES} bytes")
        self._key = secret_key

    def __repr__(self) -> str:
        return "TokenSigner(***)"

    def access_token(self, claims: UserClaims) -> str:
        """Returns an access token for the REST API."""
        return self._sign(
            Audience.API, str(claims.user_id), utc_now() + ACCESS_LIFETIME, sid=claims.session_id
        )

    def cookie_token(self, claims: UserClaims, expires_at: datetime) -> str:
        """Returns the value of the session cookie."""
        return self._sign(Audience.COOKIE, str(claims.user_id), expires_at, sid=claims.session_id)

    def service_token(self, role: ServiceRole, org: str | None = None) -> str:
        """Returns a token for one of the platform's own processes."""
        claims = {"org": org} if org else {}
        return self._sign(Audience.SERVICE, role, utc_now() + SERVICE_LIFETIME, **claims)

    def read_user(self, token: str, audience: Audience) -> UserClaims:
        """Reads an access token or a cookie.

        Raises:
            Unauthorized: Forged, expired, or of another use.
        """
        claims = self._verify(token, audience)
        try:
            return UserClaims(int(claims["sub"]), int(claims["sid"]))
        except (KeyError, ValueError, TypeError):
            raise Unauthorized("The token is not valid.") from None

    def read_service(self, token: str) -> ServiceClaims:
        """Reads a service token.

        Raises:
            Unauthorized: Forged, expired, or of another use.
        """
        claims = self._verify(token, Audience.SERVICE)
        try:
            return ServiceClaims(ServiceRole(claims["sub"]), claims.get("org"))
        except ValueError:
            raise Unauthorized("The token is not valid.") from None

    def _sign(self, audience: Audience, subject: str, expires_at: datetime, **more: Any) -> str:
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "sub": subject,
            "iat": utc_now(),
            "exp": expires_at,
            "jti": uuid4().hex,
            **more,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def _verify(self, token: str, audience: Audience) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=audience,
                issuer=ISSUER,
                options={"require": REQUIRED_CLAIMS, "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError:
            raise Unauthorized("The token is not valid or has expired.") from None
