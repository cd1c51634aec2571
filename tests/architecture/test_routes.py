"""Every route asks for a permission, or is listed here as open, with the reason."""

import re
from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from control_plane.access.caller import (
    Require,
    RequireOperator,
    RequireService,
    current_user,
)
from control_plane.access.permissions import Permission
from control_plane.api import ROOT_ROUTERS, internal_router, public_router
from control_plane.manifest.endpoints import org_of_reader

# Nobody is signed in yet, or the credential is in the request itself and checked by the endpoint.
OPEN = {
    "GET /health",
    "GET /ready",
    "GET /login",
    "POST /login",
    "POST /api/v1/auth/signup",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/refresh",
    "GET /internal/v1/session",
    "POST /internal/v1/task-tokens",
    "POST /internal/v1/task-tokens/redeem",
}
GATES = (Require, RequireOperator, RequireService)


def routes() -> dict[str, Dependant]:
    app = FastAPI()
    for router in [*ROOT_ROUTERS, public_router(), internal_router()]:
        app.include_router(router)
    return {
        f"{method} {path}": dependant
        for methods, path, dependant in walk(app)
        for method in methods - {"HEAD"}
    }


def walk(app: FastAPI) -> Iterator[tuple[set[str], str, Dependant]]:
    for route in app.routes:
        # FastAPI resolves included routers lazily: their routes are contexts.
        for one in getattr(route, "effective_route_contexts", lambda route=route: [route])():
            if isinstance(getattr(one, "original_route", one), APIRoute):
                yield one.methods, one.path, one.dependant


def gate_of(dependant: Dependant) -> object | None:
    for dependency in dependant.dependencies:
        call = dependency.call
        if isinstance(call, GATES) or call in (org_of_reader, current_user):
            return call
        found = gate_of(dependency)
        if found is not None:
            return found
    return None


ROUTES = routes()


def test_there_are_routes():
    assert len(ROUTES) > 40


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_every_route_has_a_gate_or_is_listed_open(name: str):
    gate = gate_of(ROUTES[name])
    assert (gate is None) == (name in OPEN)
    if "/orgs/{org}" in name and name.split(" ")[1].startswith("/api/"):
        assert isinstance(gate, Require), "a route of an org checks a permission in that org"


def test_open_routes_exist():
    assert set(ROUTES) >= OPEN


def test_every_permission_opens_something():
    used = {
        gate.permission
        for dependant in ROUTES.values()
        if isinstance(gate := gate_of(dependant), Require)
    }
    assert sorted(set(Permission) - used) == []


def test_a_route_without_a_gate_is_found():
    app = FastAPI()

    @app.get("/orgs/{org}/naked")
    def naked(org: str) -> None:
        pass

    @app.get("/orgs/{org}/gated")
    def gated(org: str, caller: Annotated[object, Depends(Require(Permission.RUNS_READ))]) -> None:
        pass

    found = {r.path: gate_of(r.dependant) for r in app.routes if isinstance(r, APIRoute)}
    assert found["/orgs/{org}/naked"] is None
    assert found["/orgs/{org}/gated"] is not None


def test_paths_are_resources():
    for name in ROUTES:
        path = name.split(" ")[1]
        assert re.fullmatch(r"(/(\{[a-z0-9_]+\}|[a-z0-9-]+))+", path), path
