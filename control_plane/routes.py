"""Every route of the application with its gate: what the permission table and the tests walk.

A route has a gate (a permission in an org, a platform operator, a service of the platform, any
signed-in user) or stands in `OPEN` with the reason. The architecture tests refuse anything else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute

from control_plane.access.caller import Require, RequireOperator, RequireService, current_user
from control_plane.api import include_routers
from control_plane.manifest.endpoints import org_of_reader

OPEN: dict[str, str] = {
    "GET /health": "Says nothing but that the process is alive.",
    "GET /ready": "Says which part is missing, no more.",
    "GET /login": "The page on which a person signs in.",
    "POST /login": "The form of that page: checks the password itself.",
    "GET /welcome": "Shows whose cookie it was given, leads to the login page without one.",
    "GET /logout": "Asks whether to sign out.",
    "POST /logout": "Ends the session of the cookie that it is given.",
    "GET /password-reset": "The page behind a password link; it holds nothing.",
    "GET /forgotten-password": "The page on which a person asks for a password link.",
    "GET /invitation": "The page behind an invitation's link; it holds nothing.",
    "POST /api/v1/auth/invitations/show": "Takes the invitation's token that it checks.",
    "POST /api/v1/auth/invitations/accept": "Takes the invitation's token that it uses up.",
    "POST /api/v1/auth/signup": "Makes the account.",
    "POST /api/v1/auth/login": "Checks the password itself.",
    "POST /api/v1/auth/password-resets": "Answers the same to everybody.",
    "POST /api/v1/auth/password-resets/redeem": "Takes the link's token that it uses up.",
    "POST /api/v1/auth/refresh": "Takes the refresh token that it checks.",
    "GET /api/auth/login/{provider}": "Sends the browser to a provider.",
    "GET /api/auth/callback/{provider}": "Checks the state against the browser's signed cookie.",
    "GET /login/oauth": "Takes the one-time code that it uses up, in the browser that got it.",
    "POST /api/v1/auth/oauth/exchange": "Takes the one-time code that it uses up.",
    "GET /api/v1/auth/providers": "Tells how people can sign in, before they have.",
    "GET /internal/v1/session": "Tells whose cookie or token it was given, 401 without one.",
    "POST /internal/v1/task-tokens": "Checks an API key itself, for `runs:run` and `secrets:run`.",
    "POST /internal/v1/task-tokens/redeem": "Takes the task token that it uses up.",
}
# FastAPI's dependencies are asked once, when a socket opens: one that stays open has to ask again.
SOCKETS: dict[str, str] = {
    "/api/v1/orgs/{org}/events": "Asks who it is and what they may see for each look.",
}
_GATE_CLASSES = (Require, RequireOperator, RequireService)
_GATE_FUNCTIONS = (org_of_reader, current_user)


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        method: `GET`, `POST`, …
        path: With its parameters in braces.
        gate: The dependency that decides who may, None where there is none.
        status: What it answers when all is well.
        in_schema: Whether the OpenAPI document has it.
        dependant: What FastAPI resolves for it.
    """

    method: str
    path: str
    gate: Any
    status: int
    in_schema: bool
    dependant: Dependant

    @property
    def name(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


def list_operations() -> list[Operation]:
    """Returns every operation of the application, sorted by path."""
    app = FastAPI()
    include_routers(app)
    found = operations_of(app)
    return sorted(found, key=lambda operation: (operation.path, operation.method))


def operations_of(app: FastAPI) -> Iterator[Operation]:
    """Walks the routes of an application that are declared as endpoints."""
    for one in _declared(app):
        if _is_a(one, APIRoute):
            yield from _operations(one)


def _declared(app: FastAPI) -> Iterator[Any]:
    for route in app.routes:
        # FastAPI resolves included routers lazily: their routes are contexts.
        contexts = getattr(route, "effective_route_contexts", None)
        yield from [route] if contexts is None else contexts()


def _is_a(route: Any, kind: type) -> bool:
    return isinstance(getattr(route, "original_route", route), kind)


def list_sockets() -> list[str]:
    """Returns the paths of the application's WebSockets."""
    app = FastAPI()
    include_routers(app)
    sockets = (one for one in _declared(app) if _is_a(one, APIWebSocketRoute))
    return sorted(str(getattr(one, "starlette_route", one).path) for one in sockets)


def gate_of(dependant: Dependant) -> Any:
    """Returns the first gate among what a route depends on, None where there is none."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, _GATE_CLASSES) or dependency.call in _GATE_FUNCTIONS:
            return dependency.call
        found = gate_of(dependency)
        if found is not None:
            return found
    return None


def _operations(route: Any) -> Iterator[Operation]:
    for method in sorted(route.methods - {"HEAD"}):
        yield Operation(
            method=method,
            path=route.path,
            gate=gate_of(route.dependant),
            status=route.status_code or 200,
            in_schema=route.include_in_schema,
            dependant=route.dependant,
        )
