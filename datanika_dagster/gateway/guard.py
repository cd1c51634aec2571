"""Lets requests through to Dagster's webserver that come from somebody who may use it.

Dagster's own server knows no login and accepts GraphQL by GET and as plain text. Platform operators and
the control plane itself come to the stock webserver, behind which is every org; people in an org come
to the orgs' webserver, which shows each their own. Anybody else comes nowhere.
"""

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable
from datanika_dagster.gateway import origins
from datanika_dagster.gateway.live_sockets import (
    CLOSE_FORBIDDEN,
    CLOSE_UNAUTHENTICATED,
    POLL_SECONDS,
    LiveSocket,
)
from datanika_dagster.gateway.origins import Addresses
from datanika_dagster.gateway.principal import PRINCIPAL, Principal, principal_of
from datanika_dagster.gateway.problems import no_org_page, problem
from datanika_dagster.gateway.sessions import Sessions, session_key

PREFIX = "/dagster"
MAXIMUM_BODY_BYTES = 1 << 20
HEALTH_PATH = f"{PREFIX}/_health"
GRAPHQL_PATH = f"{PREFIX}/graphql"
# What proves who somebody is: checked here, and nothing of Dagster's business.
CREDENTIALS = frozenset({b"cookie", b"authorization"})
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
# Beside Dagster's own policy for its page: browsers apply both.
FRAME_POLICY = (b"content-security-policy", b"frame-ancestors 'none'")


class _Everything(Enum):
    """Visitors that no principal describes."""

    EVERYTHING = "everything"
    """A platform operator, or the control plane itself."""
    NOTHING = "nothing"
    """Somebody who is signed in and works in no org."""


EVERYTHING, NOTHING = _Everything.EVERYTHING, _Everything.NOTHING
Visitor = Principal | _Everything | None
"""Who calls; None for nobody who is signed in."""


@dataclass(frozen=True)
class Webservers:
    """Where requests are let through to.

    Attributes:
        whole: Dagster's own, which shows everything.
        of_orgs: Shows a principal their org.
    """

    whole: ASGIApp
    of_orgs: ASGIApp


class Guard:
    """ASGI middleware; what it does not understand it refuses.

    Args:
        webservers: Behind it.
        sessions: Says who is calling.
        addresses: Where to send people who have to log in.
    """

    def __init__(self, webservers: Webservers, sessions: Sessions, addresses: Addresses) -> None:
        self._webservers = webservers
        self._sessions = sessions
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request itself, or lets it through."""
        if scope["type"] == "lifespan":
            await self._webservers.whole(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            await Response('{"status": "ok"}', media_type="application/json")(scope, receive, send)
        elif scope["type"] in ("http", "websocket"):
            inner = await self._inner(HTTPConnection(scope))
            await inner(_without_credentials(scope), receive, _with_security_headers(send))

    async def _inner(self, connection: HTTPConnection) -> ASGIApp:
        """Returns what answers a request."""
        foreign = self._foreign(connection)
        if foreign is not None:
            return foreign
        try:
            visitor = await self._visitor(connection, 0.0 if _is_socket(connection) else None)
            if visitor is EVERYTHING and origins.may_change_something(connection):
                # Of people in orgs the control plane is asked again before each mutation.
                visitor = await self._visitor(connection, 0.0)
        except ControlPlaneRefused as refusal:
            # A service token of a process that has no business here.
            return _no(connection, HTTPStatus.FORBIDDEN, "permission.denied", refusal.detail)
        except ControlPlaneUnreachable as error:
            return _no(connection, HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error))
        if visitor is None:
            return self._login(connection)
        if visitor is NOTHING:
            return _no_org(connection, self._addresses)
        return _malformed(connection) or self._let_through(connection, visitor)

    async def _visitor(
        self, connection: HTTPConnection, at_most_seconds_old: float | None
    ) -> Visitor:
        headers = connection.headers
        session = await run_in_threadpool(
            self._sessions.of, headers, at_most_seconds_old=at_most_seconds_old
        )
        if session is None:
            return None
        if session.is_platform_operator:
            return EVERYTHING
        return principal_of(session, session_key(headers)) or NOTHING

    def _let_through(self, connection: HTTPConnection, visitor: Visitor) -> ASGIApp:
        app = self._webservers.whole
        if isinstance(visitor, Principal):
            app = _for_principal(self._webservers.of_orgs, visitor)
        if not _is_socket(connection):
            return app

        async def look() -> int | None:
            now = await self._visitor(connection, POLL_SECONDS)
            if now is None:
                return CLOSE_UNAUTHENTICATED
            return None if now == visitor else CLOSE_FORBIDDEN

        return LiveSocket(app, look)

    def _foreign(self, connection: HTTPConnection) -> ASGIApp | None:
        """Refuses what may be another site's doing."""
        if origins.wrong_host(connection, self._addresses):
            reason = (
                "This server is not reached under that host name; see DATANIKA_DAGSTER_PUBLIC_URL."
            )
            return _no(connection, HTTPStatus.MISDIRECTED_REQUEST, "request.host", reason)
        if origins.is_forged(connection, self._addresses):
            reason = "The request comes from a page of another site."
            return _no(connection, HTTPStatus.FORBIDDEN, "request.origin", reason)
        return None

    def _login(self, connection: HTTPConnection) -> ASGIApp:
        accepts_html = "text/html" in connection.headers.get("accept", "")
        if connection.scope["type"] == "http" and accepts_html:
            wanted = connection.scope["path"]
            if connection.url.query:
                wanted += f"?{connection.url.query}"
            target = self._addresses.origin() + wanted
            login = f"{self._addresses.login_url}?next={quote(target, safe='')}"
            return RedirectResponse(login, status_code=HTTPStatus.SEE_OTHER)
        reason = "Log in to the control plane first."
        return _no(connection, HTTPStatus.UNAUTHORIZED, "session.missing", reason)


class _Closed:
    """Refuses a WebSocket before it is accepted; the client sees status 403."""

    def __init__(self, code: int) -> None:
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": self._code})


def _is_socket(connection: HTTPConnection) -> bool:
    return connection.scope["type"] == "websocket"


def _no(connection: HTTPConnection, status: HTTPStatus, code: str, reason: str) -> ASGIApp:
    if _is_socket(connection):
        is_login = status == HTTPStatus.UNAUTHORIZED
        return _Closed(CLOSE_UNAUTHENTICATED if is_login else CLOSE_FORBIDDEN)
    return problem(status, code, reason)


def _no_org(connection: HTTPConnection, addresses: Addresses) -> ASGIApp:
    """Refuses somebody who works in no org now."""
    reason = "You work in no organization now, or in one that is suspended."
    accepts_html = "text/html" in connection.headers.get("accept", "")
    if accepts_html and not _is_socket(connection):
        return no_org_page(reason, addresses.welcome_url())
    return _no(connection, HTTPStatus.FORBIDDEN, "permission.denied", reason)


def _for_principal(app: ASGIApp, principal: Principal) -> ASGIApp:
    async def with_principal(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, PRINCIPAL: principal}, receive, send)

    return with_principal


def _without_credentials(scope: Scope) -> Scope:
    """Returns a request as Dagster gets it: nothing that logs or renders it can show a session."""
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in CREDENTIALS]
    return {**scope, "headers": kept}


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = dict(SECURITY_HEADERS)
            theirs = [(k, v) for k, v in message.get("headers", ()) if k.lower() not in own]
            message = {**message, "headers": [*theirs, *SECURITY_HEADERS, FRAME_POLICY]}
        await send(message)

    return send_with_headers


def _malformed(connection: HTTPConnection) -> ASGIApp | None:
    """Refuses GraphQL other than by POST, and every body that is no JSON."""
    if connection.scope["type"] == "websocket":
        return None
    method = connection.scope["method"]
    if connection.scope["path"] == GRAPHQL_PATH and method != "POST":
        return problem(
            HTTPStatus.METHOD_NOT_ALLOWED, "graphql.method", "GraphQL is answered by POST only."
        )
    if method not in origins.SAFE_METHODS and not origins.is_json(connection):
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "graphql.media_type", "Send application/json."
        )
    return None if method in origins.SAFE_METHODS else _too_large(connection)


def _too_large(connection: HTTPConnection) -> ASGIApp | None:
    """Refuses a body of more, or of nobody knows how many, bytes: Dagster reads all of it."""
    announced = connection.headers.get("content-length", "")
    if not announced.isdecimal():
        return problem(HTTPStatus.LENGTH_REQUIRED, "request.length", "Send Content-Length.")
    if int(announced) > MAXIMUM_BODY_BYTES:
        reason = f"The body is larger than {MAXIMUM_BODY_BYTES} bytes."
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request.too_large", reason)
    return None
