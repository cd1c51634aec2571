"""Lets requests through to Dagster's webserver that come from somebody who may use it.

Dagster's own server knows no login and accepts GraphQL by GET and as plain text. Only
platform operators and the control plane itself may pass, since behind it is every org.
"""

from http import HTTPStatus
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable
from datanika_dagster.gateway import origins
from datanika_dagster.gateway.origins import Addresses
from datanika_dagster.gateway.problems import problem
from datanika_dagster.gateway.sessions import Sessions

PREFIX = "/dagster"
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
CLOSE_UNAUTHENTICATED = 4401
CLOSE_FORBIDDEN = 4403


class Guard:
    """ASGI middleware; what it does not understand it refuses.

    Args:
        app: Dagster's webserver.
        sessions: Says who is calling.
        addresses: Where to send people who have to log in.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, addresses: Addresses) -> None:
        self._app = app
        self._sessions = sessions
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request itself, or lets it through."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            await Response('{"status": "ok"}', media_type="application/json")(scope, receive, send)
        elif scope["type"] in ("http", "websocket"):
            refusal = await self._refusal(HTTPConnection(scope))
            inner = refusal or self._app
            await inner(_without_credentials(scope), receive, _with_security_headers(send))

    async def _refusal(self, connection: HTTPConnection) -> ASGIApp | None:
        return (
            self._foreign(connection) or await self._unknown(connection) or _malformed(connection)
        )

    def _foreign(self, connection: HTTPConnection) -> ASGIApp | None:
        """Refuses what may be another site's doing."""
        if origins.wrong_host(connection, self._addresses):
            reason = (
                "This server is not reached under that host name; see DATANIKA_DAGSTER_PUBLIC_URL."
            )
            return self._no(connection, HTTPStatus.MISDIRECTED_REQUEST, "request.host", reason)
        if origins.is_forged(connection, self._addresses):
            reason = "The request comes from a page of another site."
            return self._no(connection, HTTPStatus.FORBIDDEN, "request.origin", reason)
        return None

    async def _unknown(self, connection: HTTPConnection) -> ASGIApp | None:
        """Refuses those who may not use this server."""
        is_fresh = origins.may_change_something(connection)
        try:
            session = await run_in_threadpool(self._sessions.of, connection.headers, fresh=is_fresh)
        except ControlPlaneRefused as refusal:
            # A service token of a process that has no business here.
            return self._no(connection, HTTPStatus.FORBIDDEN, "permission.denied", refusal.detail)
        except ControlPlaneUnreachable as error:
            return self._no(connection, HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error))
        if session is None:
            return self._login(connection)
        if not session.is_platform_operator:
            reason = "Only platform operators may use Dagster's own pages."
            return self._no(connection, HTTPStatus.FORBIDDEN, "permission.denied", reason)
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
        return self._no(connection, HTTPStatus.UNAUTHORIZED, "session.missing", reason)

    @staticmethod
    def _no(connection: HTTPConnection, status: HTTPStatus, code: str, reason: str) -> ASGIApp:
        if connection.scope["type"] == "websocket":
            is_login = status == HTTPStatus.UNAUTHORIZED
            return _Closed(CLOSE_UNAUTHENTICATED if is_login else CLOSE_FORBIDDEN)
        return problem(status, code, reason)


class _Closed:
    """Refuses a WebSocket before it is accepted; the client sees status 403."""

    def __init__(self, code: int) -> None:
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": self._code})


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
    return None
