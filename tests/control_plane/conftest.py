"""Fixtures of the control plane: a migrated database, sessions, and clients.

`session` and `client` share one outer transaction that is rolled back after the test. `live_api` is
a real server with committed data, for what starts tasks in other processes.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from alembic import command
from alembic.config import Config
from cryptography.fernet import Fernet
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.sessions.service import start_session
from control_plane.core.database import make_engine, make_session_factory
from control_plane.core.vault import Vault
from control_plane.main import create_app
from control_plane.settings import Settings
from datanika_stack.databases import ensure_databases
from datanika_stack.endpoints import DatabaseEndpoints
from datanika_stack.postgres import EmbeddedPostgres
from tests.conftest import free_port
from tests.factories.access import Member, make_member

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Databases:
    """URLs of the control-plane database, for its two roles, and of the superuser."""

    app: str
    owner: str
    endpoints: DatabaseEndpoints


@pytest.fixture(scope="session")
def databases(postgres_cluster: EmbeddedPostgres) -> Databases:
    """Makes databases and roles as the stack does, and migrates."""

    def url(user: str, database: str, driver: str = "psycopg") -> str:
        return postgres_cluster.url(database, user, secrets.token_urlsafe(12), driver=driver)

    endpoints = DatabaseEndpoints(
        app=make_url(url("datanika_app", "datanika")),
        owner=make_url(url("datanika_owner", "datanika")),
        dagster=make_url(url("dagster", "dagster", "psycopg2")),
        dagster_reader=make_url(url("dagster_reader", "dagster", "psycopg2")),
        provisioner=make_url(url("datanika_provisioner", "postgres")),
        admin=make_url(postgres_cluster.url()),
    )
    ensure_databases(endpoints)
    owner = endpoints.owner.render_as_string(hide_password=False)
    migrate(owner, "head")
    return Databases(endpoints.app.render_as_string(hide_password=False), owner, endpoints)


def migrate(owner_url: str, revision: str, *, down: bool = False) -> None:
    """Runs the migrations up or down to `revision`."""
    config = Config(ROOT / "alembic.ini")
    engine = create_engine(owner_url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)
    engine.dispose()


@pytest.fixture(scope="session")
def app_engine(databases: Databases) -> Iterator[Engine]:
    engine = make_engine(databases.app)
    yield engine
    engine.dispose()


@pytest.fixture
def outer_connection(app_engine: Engine) -> Iterator[Connection]:
    """A connection whose transaction is rolled back after the test."""
    with app_engine.connect() as connection:
        outer = connection.begin()
        yield connection
        if outer.is_active:
            outer.rollback()


@pytest.fixture
def session(outer_connection: Connection) -> Iterator[Session]:
    """A session on the test's transaction; commits become savepoints."""
    factory = make_session_factory(outer_connection, join_transaction_mode="create_savepoint")
    with factory() as opened:
        yield opened


@pytest.fixture(scope="session")
def vault() -> Vault:
    return Vault([Fernet.generate_key().decode()])


@pytest.fixture(scope="session")
def make_settings(databases: Databases, tmp_path_factory: pytest.TempPathFactory):
    """Returns a function that makes the settings of a control plane of the tests."""
    projects_dir = tmp_path_factory.mktemp("dbt_projects")

    def make(**overrides: object) -> Settings:
        values: dict[str, object] = {
            "database_url": databases.app,
            "secret_key": secrets.token_urlsafe(32),
            "encryption_keys": Fernet.generate_key().decode(),
            "dbt_projects_dir": projects_dir,
            "allowed_networks": "127.0.0.0/8",
            **overrides,
        }
        return Settings.model_validate(values)

    return make


@pytest.fixture
def app(make_settings: Callable[..., Settings], outer_connection: Connection, vault: Vault):
    """The application on the test's transaction."""
    application = create_app(make_settings())
    application.state.session_factory = make_session_factory(
        outer_connection, join_transaction_mode="create_savepoint"
    )
    application.state.vault = vault
    return application


@pytest.fixture
def member(request: pytest.FixtureRequest, session: Session, vault: Vault) -> Member:
    """A user with an org; `@pytest.mark.caller(role="viewer")` gives the role."""
    marker = request.node.get_closest_marker("caller")
    role = Role(marker.kwargs.get("role", "owner")) if marker else Role.OWNER
    return make_member(session, vault, role=role)


@pytest.fixture
def client(app, session: Session, member: Member) -> Iterator[TestClient]:
    """A client that is signed in as `member`; `client.org` is the org's slug."""
    tokens = start_session(session, app.state.signer, member.user)
    session.commit()
    with TestClient(app, raise_server_exceptions=False) as opened:
        opened.headers["Authorization"] = f"Bearer {tokens.access_token}"
        opened.org = member.org.slug  # type: ignore[attr-defined]
        yield opened


@pytest.fixture
def anonymous(app) -> Iterator[TestClient]:
    """A client without credentials."""
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@dataclass
class LiveApi:
    """A served control plane with committed data.

    Attributes:
        url: Its root.
        settings: What it runs with.
        application: The FastAPI application, for service tokens and the session factory.
    """

    url: str
    settings: Settings
    application: object

    def sign_up(self, org_name: str | None = None) -> httpx.Client:
        """Returns a client of a new owner; `.org` is the slug, `.org_id` the id."""
        name = org_name or f"Org {secrets.token_hex(4)}"
        client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=60)
        answer = client.post(
            "/auth/signup",
            json={
                "email": f"{secrets.token_hex(6)}@example.com",
                "password": "correct horse battery",
                "org_name": name,
            },
        )
        answer.raise_for_status()
        body = answer.json()
        client.headers["Authorization"] = f"Bearer {body['access_token']}"
        client.org = body["org"]["slug"]  # type: ignore[attr-defined]
        client.org_id = body["org"]["id"]  # type: ignore[attr-defined]
        return client


@pytest.fixture(scope="session")
def live_api(make_settings: Callable[..., Settings]) -> Iterator[LiveApi]:
    """A control plane on a real port, for tasks that call it from other processes."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = make_settings(public_url=url, control_plane_url=url)
    application = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(application, host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 15
    while not server.started:
        assert time.monotonic() < deadline, "the control plane did not start"
        time.sleep(0.02)
    yield LiveApi(url, settings, application)
    server.should_exit = True
    thread.join(10)
