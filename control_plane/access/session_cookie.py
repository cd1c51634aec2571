"""The cookie of the platform's own pages and of the Dagster UI, and when browsers may send it.

Plain http is for loopback, where nobody listens on the way. Anywhere else cookies are `Secure`
(https://www.rfc-editor.org/rfc/rfc6265#section-4.1.2.5): over plain http a browser drops them, and
the login page says why.
"""

import ipaddress
from urllib.parse import urlsplit

from fastapi import Response

from control_plane.access.sessions.service import IssuedTokens
from control_plane.settings import Settings

COOKIE_NAME = "datanika_session"


def set_session_cookie(response: Response, settings: Settings, tokens: IssuedTokens) -> None:
    """Gives the browser the cookie that the pages and the Dagster UI's gateway read."""
    response.set_cookie(
        COOKIE_NAME,
        tokens.cookie,
        expires=tokens.cookie_expires_at,
        httponly=True,
        samesite="lax",
        secure=is_cookie_secure(settings),
        path="/",
    )


def delete_session_cookie(response: Response) -> None:
    """Takes the cookie back."""
    response.delete_cookie(COOKIE_NAME, path="/")


def is_cookie_secure(settings: Settings) -> bool:
    """Tells whether browsers may send the platform's cookies over TLS alone."""
    parts = urlsplit(settings.public_url)
    return parts.scheme != "http" or not _is_loopback(parts.hostname or "")


def needs_tls(settings: Settings) -> bool:
    """Tells whether browsers drop the cookies at the address that the settings give out."""
    return is_cookie_secure(settings) and urlsplit(settings.public_url).scheme != "https"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
