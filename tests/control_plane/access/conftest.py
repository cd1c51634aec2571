"""A control plane whose commits are real, seen from client addresses of the test's own."""

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.permissions import Role
from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import make_operator
from control_plane.core.database import make_session_factory, transaction
from control_plane.settings import Settings
from tests.fixtures.applications import make_app

PASSWORD = "correct horse battery"
ADDRESSES = itertools.count(1)


class Door:
    """A control plane with settings of the test's own.

    Throttling commits before it verifies, so these tests cannot roll back: accounts and addresses
    are fresh in each.
    """

    def __init__(self, settings: Settings, engine: Engine, stack: ExitStack) -> None:
        self.app = make_app(settings)
        self.factory: sessionmaker[Session] = make_session_factory(engine)
        self._stack = stack
        self.client = self.from_elsewhere()

    def from_elsewhere(self, address: str | None = None) -> TestClient:
        """Returns a client with an address that nobody had before."""
        # RFC 3849: addresses for documentation, one /64 for each.
        fresh = f"2001:db8:{secrets.randbelow(65536):x}:{next(ADDRESSES):x}::1"
        client = TestClient(
            self.app, raise_server_exceptions=False, client=(address or fresh, 50000)
        )
        return self._stack.enter_context(client)

    def sign_up(self, **values: str) -> dict:
        """Signs somebody up and returns the answer, with `email` and `headers`."""
        email = f"{secrets.token_hex(6)}@example.com"
        body = {"email": email, "password": PASSWORD, "org_name": "Acme", **values}
        answer = self.from_elsewhere().post("/api/v1/auth/signup", json=body)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        headers = {"Authorization": f"Bearer {made['access_token']}"}
        return {**made, "email": body["email"], "headers": headers}

    def log_in(self, email: str, password: str = PASSWORD, client: TestClient | None = None):
        """Logs in and returns the answer."""
        body = {"email": email, "password": password}
        return (client or self.client).post("/api/v1/auth/login", json=body)

    def make_operator(self) -> dict[str, str]:
        """Returns the headers of a platform operator."""
        person = self.sign_up()
        with transaction(self.factory) as session:
            user = UserRepository(session).find_by_email(person["email"])
            assert user is not None
            make_operator(session, person["email"])
        return person["headers"]

    def add_member(self, org_id: int, user_id: int, role: Role = Role.VIEWER) -> None:
        """Makes a user a member of one more org."""
        with transaction(self.factory, org_id) as session:
            UserRepository(session).add_membership(org_id, user_id, role)

    def entries(self, table: str, actor_name: str, org_id: int | None = None) -> list[tuple]:
        """Returns (action, resource_type, ip_address, actor_id) of an actor, oldest first."""
        query = (
            f"SELECT action, resource_type, ip_address, actor_id FROM {table}"
            " WHERE actor_name = :name ORDER BY id"
        )
        with transaction(self.factory, org_id) as session:
            return [tuple(row) for row in session.execute(text(query), {"name": actor_name})]


@pytest.fixture
def open_door(make_settings: Callable[..., Settings], app_engine: Engine) -> Iterator[Callable]:
    """Returns a function that opens a door with settings."""
    with ExitStack() as stack:
        yield lambda **settings: Door(make_settings(**settings), app_engine, stack)


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    """A door with the ordinary limits."""
    return open_door()
