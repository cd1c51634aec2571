"""What every request passes: trace id, the caller's address, size limit, headers and a log line.

Plain ASGI: Starlette's `BaseHTTPMiddleware` costs a task group and two queues for each request.
"""

import ipaddress
import logging
import time
import uuid
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
logger = logging.getLogger("control_plane.requests")
# What a page of this origin may do where its own route says nothing else: nothing.
CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'"
# The API's documentation loads its own scripts and styles from this server.
DOCS_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline';"
    " script-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)
SWITCHING_PROTOCOLS = 101
DOCS_PATHS = ("/docs", "/static-offline-docs")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
STRICT_TRANSPORT_SECURITY = "max-age=31536000"


class RequestContext:
    """Gives each request a trace id and its caller's address, and each answer its headers.

    Args:
        app: The application.
        trusted_proxies: Networks of the proxies whose `X-Forwarded-For` is believed.
        is_https: Whether people reach the platform by TLS.
    """

    def __init__(
        self, app: ASGIApp, *, trusted_proxies: Iterable[str] = (), is_https: bool = False
    ) -> None:
        self._app = app
        self._proxies = [ipaddress.ip_network(network) for network in trusted_proxies]
        self._headers = dict(SECURITY_HEADERS)
        if is_https:
            self._headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        trace_id = state["trace_id"] = uuid.uuid4().hex
        state["client_address"] = self._client_address(scope)
        started_at = time.perf_counter()
        # The server's own error handler answers outside of this middleware.
        status = 500 if scope["type"] == "http" else SWITCHING_PROTOCOLS

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = message["status"]
                self._add_headers(scope["path"], trace_id, MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            _log(scope, status, time.perf_counter() - started_at, trace_id)

    def _add_headers(self, path: str, trace_id: str, headers: MutableHeaders) -> None:
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        policy = DOCS_SECURITY_POLICY if path.startswith(DOCS_PATHS) else CONTENT_SECURITY_POLICY
        headers.setdefault("Content-Security-Policy", policy)
        if not path.startswith(DOCS_PATHS):
            # Answers are somebody's own, and many carry a token or a secret that is shown once.
            headers.setdefault("Cache-Control", "no-store")
        headers["X-Trace-Id"] = trace_id

    def _client_address(self, scope: Scope) -> str | None:
        if scope.get("client") is None:
            return None
        peer = _address(str(scope["client"][0])) or str(scope["client"][0])
        if not self._proxies or not _is_in(peer, self._proxies):
            return peer
        return (
            forwarded_address(Headers(scope=scope).getlist("x-forwarded-for"), self._proxies)
            or peer
        )


class RequestSizeLimit:
    """Refuses bodies that are larger than allowed, before they are in memory.

    FastAPI's own `max_body_size` answers in plain text where the length is announced; this one
    raises inside the application, so that the answer is a problem like any other.

    Args:
        app: The application.
        maximum_bytes: The largest body.
    """

    def __init__(self, app: ASGIApp, *, maximum_bytes: int) -> None:
        self._app = app
        self._maximum_bytes = maximum_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, counting its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        received_bytes = 0

        async def counted() -> Message:
            nonlocal received_bytes
            # Also where the length was announced: nothing of a body that is refused is read.
            if announced.isdecimal() and int(announced) > self._maximum_bytes:
                raise self._too_large()
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._maximum_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> HTTPException:
        detail = f"The request's body is larger than {self._maximum_bytes} bytes."
        return HTTPException(413, detail, headers={"Connection": "close"})


def forwarded_address(values: Sequence[str], proxies: Sequence[Network]) -> str | None:
    """Returns the address that the first untrusted hop had, read from the right.

    Whatever stands left of it was sent by that hop itself and can be anything.

    Args:
        values: The `X-Forwarded-For` headers.
        proxies: Networks that are believed.
    """
    hops = [hop.strip() for value in values for hop in value.split(",")]
    known = None
    for hop in reversed(hops):
        address = _address(hop)
        if address is None:
            return known
        known = address
        if not _is_in(address, proxies):
            return known
    return known


def _address(hop: str) -> str | None:
    try:
        parsed = ipaddress.ip_address(hop)
    except ValueError:
        return None
    # One caller has one address, whichever family the socket is of.
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    known = _address(address)
    return known is not None and any(ipaddress.ip_address(known) in one for one in networks)


def _log(scope: Scope, status: int, duration_seconds: float, trace_id: str) -> None:
    # The path as it was decoded could hold line breaks: its representation cannot. No query string.
    logger.info(
        "%s %s %s %.1f ms trace %s",
        scope.get("method", "WebSocket"),
        ascii(scope["path"])[1:-1],
        status,
        duration_seconds * 1000,
        trace_id,
    )
