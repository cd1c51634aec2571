"""Every route asks for a permission, or is listed as open in `control_plane/routes.py`."""

import re
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from control_plane.access.caller import Require
from control_plane.access.permissions import SHELL_RUN, Permission
from control_plane.routes import OPEN, SOCKETS, list_operations, list_sockets, operations_of

OPERATIONS = {operation.name: operation for operation in list_operations()}


def test_there_are_routes():
    assert len(OPERATIONS) > 40


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_route_has_a_gate_or_is_listed_open(name: str):
    gate = OPERATIONS[name].gate
    assert (gate is None) == (name in OPEN)
    if "/orgs/{org}" in name and name.split(" ")[1].startswith("/api/"):
        assert isinstance(gate, Require), "a route of an org checks a permission in that org"


def test_open_routes_exist_and_have_a_reason():
    assert OPERATIONS.keys() >= OPEN.keys()
    assert all(OPEN.values())


def test_every_socket_is_listed_with_what_it_asks():
    assert list_sockets() == sorted(SOCKETS)
    assert all(SOCKETS.values())


def test_every_permission_opens_something():
    gates = [operation.gate for operation in OPERATIONS.values()]
    used = {gate.permission for gate in gates if isinstance(gate, Require)}
    # A shell's run asks an open route, which checks both itself.
    assert sorted(set(Permission) - used - SHELL_RUN) == []


def test_a_route_without_a_gate_is_found():
    app = FastAPI()

    @app.get("/orgs/{org}/naked")
    def naked(org: str) -> None:
        pass

    @app.get("/orgs/{org}/gated")
    def gated(org: str, caller: Annotated[object, Depends(Require(Permission.RUNS_READ))]) -> None:
        pass

    found = {operation.path: operation.gate for operation in operations_of(app)}
    assert found["/orgs/{org}/naked"] is None
    assert found["/orgs/{org}/gated"] is not None


def test_paths_are_resources():
    for operation in OPERATIONS.values():
        assert re.fullmatch(r"(/(\{[a-z0-9_]+\}|[a-z0-9-]+))+", operation.path), operation.path
