"""A platform of its own for each test of keys: they are the whole deployment's, not one org's."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.permissions import Role
from control_plane.access.sessions.service import start_session
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.connections.models import Connection
from control_plane.core.database import make_engine, make_session_factory, transaction
from control_plane.core.vault import Vault
from control_plane.keys import password_wrapping
from control_plane.keys.keyring import make_vault
from control_plane.settings import Settings
from control_plane.tenancy.models import DataKey
from control_plane.tenancy.secrets import OrgSecrets
from control_plane.tenancy.service import create_organization, list_org_ids
from datanika_stack.key_agent import KeyAgent
from datanika_stack.postgres import EmbeddedPostgres
from tests.factories.access import make_user
from tests.fixtures.applications import make_app
from tests.fixtures.control_plane import Databases, migrate

PASSWORD = "correct horse battery staple"
TEMPLATE = "keys_template"


@dataclass
class Platform:
    """A database, the settings of a control plane on it, and what the tests ask of it.

    Attributes:
        url: Of the database, for the application's role.
        values: Settings of every process, unless a test gives others.
        stored: The secrets of each connection, by org and connection.
    """

    url: str
    values: dict[str, object]
    engine: Engine
    stored: dict[tuple[int, int], dict[str, str]] = field(default_factory=dict)

    @property
    def factory(self) -> sessionmaker[Session]:
        return make_session_factory(self.engine)

    def settings(self, **values: object) -> Settings:
        return Settings.model_validate({**self.values, "database_url": self.url, **values})

    def vault(self, **values: object) -> Vault:
        """The vault of another process: nothing is unlocked in it."""
        return make_vault(self.settings(**values))

    def make_org(self, vault: Vault, connections: int = 0) -> int:
        """An org of its own with connections, committed; returns its id."""
        with transaction(self.factory) as session:
            org_id = create_organization(session, vault, f"Org {secrets.token_hex(4)}").id
        for _ in range(connections):
            self.add_connection(vault, org_id)
        return org_id

    def add_connection(self, vault: Vault, org_id: int) -> int:
        name = f"c{secrets.token_hex(6)}"
        values = {"password": f"canary-{secrets.token_hex(8)}"}
        with transaction(self.factory, org_id) as session:
            row = Connection(
                org_id=org_id,
                slug=name,
                name=name,
                connector="postgres",
                direction="both",
                config={"host": "db.example.com"},
            )
            session.add(row)
            session.flush()
            OrgSecrets(session, org_id, vault).store(row, values)
            self.stored[org_id, row.id] = values
            return row.id

    def read(self, vault: Vault, org_id: int, connection_id: int) -> dict[str, str]:
        with transaction(self.factory, org_id) as session:
            row = session.get_one(Connection, connection_id)
            return OrgSecrets(session, org_id, vault).read(row)

    def assert_all_readable(self, vault: Vault) -> None:
        assert self.stored
        for (org_id, connection_id), values in self.stored.items():
            assert self.read(vault, org_id, connection_id) == values

    def data_keys(self) -> dict[int, list[DataKey]]:
        """Every org's data keys, the newest first."""
        with transaction(self.factory) as session:
            org_ids = list_org_ids(session)
        found = {}
        for org_id in org_ids:
            with transaction(self.factory, org_id) as session:
                keys = session.query(DataKey).order_by(DataKey.id.desc()).all()
                found[org_id] = keys
        return found

    def scalar(self, statement: str, **values: object) -> object:
        with self.engine.begin() as connection:
            return connection.execute(text(statement), values).scalar()

    def platform_audit(self) -> list[str]:
        with self.engine.begin() as connection:
            rows = connection.execute(
                text(
                    "SELECT action || ' ' || resource_type FROM platform_audit_entries ORDER BY id"
                )
            )
            return [*rows.scalars()]


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a derivation costs is measured by one test; the others do not pay for it."""
    monkeypatch.setattr(password_wrapping, "COST", 2**10)


@pytest.fixture
def real_derivation(cheap_derivation: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a deployment pays."""
    monkeypatch.setattr(password_wrapping, "COST", 2**17)


@pytest.fixture(scope="session")
def keys_template(databases: Databases, postgres_cluster: EmbeddedPostgres) -> str:
    """A migrated database to copy; returns its name."""
    admin = create_engine(postgres_cluster.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {TEMPLATE} OWNER datanika_owner"))
    admin.dispose()
    owner = make_url(databases.owner).set(database=TEMPLATE)
    migrate(owner.render_as_string(hide_password=False), "head")
    return TEMPLATE


@pytest.fixture
def platform(
    keys_template: str,
    databases: Databases,
    postgres_cluster: EmbeddedPostgres,
    tmp_path: Path,
) -> Iterator[Platform]:
    """A platform with a master password's provider, on a database of its own."""
    name = f"keys_{secrets.token_hex(6)}"
    admin = create_engine(postgres_cluster.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {keys_template}"))
    url = make_url(databases.app).set(database=name).render_as_string(hide_password=False)
    engine = make_engine(url, pool_size=5)
    values: dict[str, object] = {
        "secret_key": secrets.token_urlsafe(32),
        "key_provider": "master_password",
        "dbt_projects_dir": tmp_path,
    }
    yield Platform(url, values, engine)
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    # Not pytest's tmp_path: a Unix socket's path must stay short.
    directory = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
    yield directory / "agent" / "keys.sock"
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def agent(socket_path: Path) -> Iterator[KeyAgent]:
    """The stack's own."""
    served = KeyAgent(socket_path)
    served.start()
    yield served
    if served.is_alive():
        served.close()


@pytest.fixture
def environment_key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def serve(platform: Platform) -> Iterator[Callable[..., TestClient]]:
    """Returns a function that makes a control plane and a client that is signed in as operator."""
    clients: list[TestClient] = []

    def make(**values: object) -> TestClient:
        application: FastAPI = make_app(platform.settings(**values))
        client = TestClient(application, raise_server_exceptions=False).__enter__()
        clients.append(client)
        client.headers["Authorization"] = f"Bearer {operator_token(platform, application)}"
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def operator(serve: Callable[..., TestClient]) -> TestClient:
    """A client of a platform that was never unlocked."""
    return serve()


@pytest.fixture
def unlocked(operator: TestClient) -> TestClient:
    """The same with a master password, unlocked."""
    answer = operator.post("/api/v1/system/master-password", json={"password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return operator


def operator_token(platform: Platform, application: FastAPI) -> str:
    with transaction(platform.factory) as session:
        user = make_user(session, is_platform_operator=True)
        return start_session(session, application.state.signer, user).access_token


def member_token(
    platform: Platform, application: FastAPI, org_id: int, role: Role = Role.OWNER
) -> str:
    """An access token of a new member of an org."""
    with transaction(platform.factory, org_id) as session:
        user: User = make_user(session)
        UserRepository(session).add_membership(org_id, user.id, role)
        return start_session(session, application.state.signer, user).access_token


def vault_of(client: TestClient) -> Vault:
    return client.app.state.vault  # type: ignore[attr-defined]
