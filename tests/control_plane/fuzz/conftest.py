"""A served control plane of its own: what is fuzzed leaves rows behind, and ends sessions."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from control_plane.main import create_app
from control_plane.routes import Operation, list_operations
from control_plane.settings import Settings
from tests.control_plane.access.matrix.objects import Request, Stage
from tests.control_plane.access.matrix.rows import NO_DAGSTER, NO_SLOT, NOT_PUBLISHED, ROWS
from tests.control_plane.access.matrix.world import World, make_world
from tests.factories.access import make_member
from tests.fixtures.ports import free_port
from tests.fixtures.servers import served

OPERATIONS = {one.name: one for one in list_operations() if one.in_schema}
# What an operation may answer because nothing but the control plane runs here.
MAY_BE_UNAVAILABLE = (NO_DAGSTER, NO_SLOT, NOT_PUBLISHED)
# They look at the source where a request names a table that is not known; no source is there.
MAY_LOOK_AT_A_SOURCE = (
    "POST /api/v1/orgs/{org}/uploads",
    "PATCH /api/v1/orgs/{org}/uploads/{upload_id}",
)
NO_DAGSTER_URL = "http://127.0.0.1:9/dagster"


@dataclass(frozen=True)
class Target:
    """An operation, with a valid request of an owner who has just signed in.

    Attributes:
        url: Of the server.
        document: The OpenAPI document.
        valid: The parts of a valid request, also the org's slug.
        headers: The owner's credentials.
    """

    url: str
    document: dict[str, Any]
    operation: Operation
    valid: Request
    headers: dict[str, str]

    def explains(self, status: int) -> bool:
        """Tells whether this answer can come of a sane server."""
        because = ROWS[self.operation.name].because
        if status in {502, 503}:
            return because in MAY_BE_UNAVAILABLE or self.operation.name in MAY_LOOK_AT_A_SOURCE
        return status < 500 and str(status) in self.responses

    @property
    def responses(self) -> dict[str, Any]:
        """What the document says that the operation answers."""
        method = self.operation.method.lower()
        return self.document["paths"][self.operation.path][method]["responses"]


@pytest.fixture(scope="module")
def fuzzed_app(make_settings: Callable[..., Settings]) -> FastAPI:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = make_settings(public_url=url, control_plane_url=url, dagster_url=NO_DAGSTER_URL)
    return create_app(settings)


@pytest.fixture(scope="module")
def fuzzed_url(fuzzed_app: FastAPI) -> Iterator[str]:
    logger = logging.getLogger("control_plane.requests")
    logger.disabled = True
    url = fuzzed_app.state.settings.control_plane_url
    with served(fuzzed_app, int(url.rpartition(":")[2])):
        yield url
    logger.disabled = False


@pytest.fixture(scope="module")
def world(fuzzed_app: FastAPI, app_engine: Engine) -> World:
    return make_world(fuzzed_app, app_engine)


@pytest.fixture
def target(request: pytest.FixtureRequest, fuzzed_url: str, world: World) -> Target:
    """The operation of the test's parameter, as an owner who also operates the platform."""
    operation = OPERATIONS[request.param]
    row = ROWS[operation.name]
    with world.factory() as session:
        member = make_member(session, world.vault)
        session.merge(member.user).is_platform_operator = True
        parts = row.prepare(Stage(world, session, member))
        session.commit()
    body = parts.body if row.body is None else row.body
    path = {"org": member.org.slug, **parts.path}
    valid = Request(**{**vars(parts), "body": body, "path": path})
    headers = {**parts.headers, **world.bearer(member.user)}
    return Target(fuzzed_url, world.app.openapi(), operation, valid, headers)
