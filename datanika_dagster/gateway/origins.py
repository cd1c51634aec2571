"""Whether a request may be another site's doing: its host, its origin, its form.

A browser sends the session cookie along with what pages of other sites make it send. What it says of
such a request is checked here (https://www.rfc-editor.org/rfc/rfc6454#section-7 and
https://www.w3.org/TR/fetch-metadata/); nobody's session is looked at.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from starlette.requests import HTTPConnection

SAFE_METHODS = frozenset({"GET", "HEAD"})
JSON = "application/json"
LOOPBACK_NAME = "localhost"


@dataclass(frozen=True)
class Addresses:
    """Where people reach things.

    Attributes:
        login_url: The control plane's login page.
        dagster_url: This server, with its path prefix.
    """

    login_url: str
    dagster_url: str

    def origin(self) -> str:
        """Returns the origin that browsers send for pages of this server."""
        parts = urlsplit(self.dagster_url)
        return f"{parts.scheme}://{parts.netloc}"

    def welcome_url(self) -> str:
        """Returns the page that shows people where they belong."""
        return urljoin(self.login_url, "/welcome")

    def has_host(self, name: str) -> bool:
        """Tells whether people reach the platform under this host name, or on this machine.

        A name that somebody else made point here (DNS rebinding) is none of these.
        """
        own = {urlsplit(url).hostname for url in (self.login_url, self.dagster_url)}
        return name in own or _is_loopback(name)


def may_change_something(connection: HTTPConnection) -> bool:
    """Tells whether a request is more than reading a page."""
    return connection.scope["type"] == "websocket" or _method(connection) not in SAFE_METHODS


def wrong_host(connection: HTTPConnection, addresses: Addresses) -> bool:
    """Tells whether a request came for a host that is not this server's.

    The platform's own processes use names of their own network and show a token, which no browser
    adds to another site's request.
    """
    if "authorization" in connection.headers:
        return False
    host = _parts(f"//{connection.headers.get('host', '')}")
    return host is None or not addresses.has_host(host.hostname or "")


def is_forged(connection: HTTPConnection, addresses: Addresses) -> bool:
    """Tells whether a page of another site sent a request that may change something."""
    if not may_change_something(connection):
        return False
    site = connection.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return True
    origin = connection.headers.get("origin")
    if origin is not None:
        return not _is_own(origin, connection, addresses)
    # Browsers name the origin of each WebSocket. Of other requests old ones do not, but no page can
    # send JSON to another site without asking that site first, and nobody answers here.
    return connection.scope["type"] == "websocket" and "cookie" in connection.headers


def is_json(connection: HTTPConnection) -> bool:
    """Tells whether a request's body is declared as JSON."""
    return connection.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON


def _is_own(origin: str, connection: HTTPConnection, addresses: Addresses) -> bool:
    if origin == addresses.origin():
        return True
    parts = _parts(origin)
    # The host was checked: by an address of this machine, a tunnel for example.
    return bool(parts and parts.netloc and parts.netloc == connection.headers.get("host"))


def _method(connection: HTTPConnection) -> str:
    return str(connection.scope["method"])


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        return None
    return parts


def _is_loopback(name: str) -> bool:
    if name == LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
