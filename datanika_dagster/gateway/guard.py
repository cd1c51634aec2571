"""Lets requests through to Dagster's webserver that come from somebody who may use it.

Dagster's own server knows no login and accepts GraphQL by GET and as plain text. Only
platform operators and the control plane itself may pass, since behind it is every org.
"""

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable
from datanika_dagster.gateway.problems import problem
from datanika_dagster.gateway.sessions import Sessions

PREFIX = "/dagster"
HEALTH_PATH = f"{PREFIX}/_health"
GRAPHQL_PATH = f"{PREFIX}/graphql"
SAFE_METHODS = frozenset({"GET", "HEAD"})
CLOSE_UNAUTHENTICATED = 4401
CLOSE_FORBIDDEN = 4403


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
            refusal = await self._refusal(scope)
            await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> ASGIApp | None:
        connection = HTTPConnection(scope)
        reason = self._forged(connection)
        if reason:
            return self._no(connection, HTTPStatus.FORBIDDEN, "request.origin", reason)
        try:
            session = await run_in_threadpool(
                self._sessions.of, connection.headers, fresh=_may_change_something(scope)
            )
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
        return _malformed(connection)

    def _forged(self, connection: HTTPConnection) -> str | None:
        """Returns why a request may be another site's doing; browsers always name the origin."""
        origin = connection.headers.get("origin")
        is_page = connection.scope["type"] == "http" and connection.scope["method"] in SAFE_METHODS
        if origin is None or is_page or origin == self._addresses.origin():
            return None
        if urlsplit(origin).netloc == connection.headers.get("host"):
            return None
        return "The request comes from a page of another site."

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


def _may_change_something(scope: Scope) -> bool:
    return scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS


def _malformed(connection: HTTPConnection) -> ASGIApp | None:
    if connection.scope["type"] == "websocket" or connection.scope["path"] != GRAPHQL_PATH:
        return None
    if connection.scope["method"] != "POST":
        return problem(
            HTTPStatus.METHOD_NOT_ALLOWED, "graphql.method", "GraphQL is answered by POST only."
        )
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "graphql.media_type", "Send application/json."
        )
    return None
