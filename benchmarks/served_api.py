"""One API process on a PostgreSQL of its own, with tenants in it."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from alembic import command
from alembic.config import Config
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from benchmarks.workspace import BenchmarkError
from control_plane.access.permissions import Role
from control_plane.access.sessions.service import start_session
from control_plane.access.sessions.tokens import TokenSigner
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import create_user
from control_plane.audit.service import SYSTEM, AuditLog
from control_plane.connections.schemas import ConnectionCreate
from control_plane.connections.service import ConnectionService
from control_plane.core.database import make_engine, make_session_factory, transaction
from control_plane.core.vault import StaticKeys, Vault
from control_plane.tenancy.service import create_organization
from datanika_manifest.connectors.base import Direction
from datanika_stack.databases import ensure_databases
from datanika_stack.endpoints import DatabaseEndpoints
from datanika_stack.polling import wait_for
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.web_server import server_command

ROOT = Path(__file__).parents[1]
START_TIMEOUT_SECONDS = 30.0
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Tenant:
    """An org and how to call the API in it."""

    slug: str
    token: str
    connection_ids: tuple[int, ...]


@dataclass(frozen=True)
class ServedApi:
    """A running API process.

    Attributes:
        port: Where it listens.
        pid: The server's process.
        tenants: The orgs in its database.
        email: Of a user with the password `PASSWORD`.
        admin_dsn: Of its database, as a superuser.
    """

    port: int
    pid: int
    tenants: list[Tenant]
    email: str
    admin_dsn: str


@contextmanager
def served_api(
    directory: Path, port: int, *, orgs: int, connections_per_org: int
) -> Iterator[ServedApi]:
    """Fills a database, serves the API from it and takes both away again."""
    directory.mkdir(parents=True, exist_ok=True)
    with EmbeddedPostgres(directory / "pg", port + 1, directory / "s", secrets.token_hex(8)) as pg:
        app_url = _migrated(pg)
        secret_key, encryption_key = secrets.token_urlsafe(32), Fernet.generate_key().decode()
        tenants, email = _fill(app_url, secret_key, encryption_key, orgs, connections_per_org)
        environment = {
            "DATANIKA_DATABASE_URL": app_url,
            "DATANIKA_SECRET_KEY": secret_key,
            "DATANIKA_ENCRYPTION_KEYS": encryption_key,
        }
        process = _start(port, environment)
        try:
            yield ServedApi(port, process.pid, tenants, email, pg.dsn("datanika"))
        finally:
            process.terminate()
            process.wait(30)


def _migrated(pg: EmbeddedPostgres) -> str:
    def url(user: str, database: str, driver: str = "psycopg") -> str:
        return pg.url(database, user, secrets.token_hex(8), driver=driver)

    endpoints = DatabaseEndpoints(
        app=make_url(url("datanika_app", "datanika")),
        owner=make_url(url("datanika_owner", "datanika")),
        dagster=make_url(url("dagster", "dagster", "psycopg2")),
        provisioner=make_url(url("datanika_provisioner", "postgres")),
        admin=make_url(pg.url()),
    )
    ensure_databases(endpoints)
    config = Config(ROOT / "alembic.ini")
    engine = create_engine(endpoints.owner)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
    return endpoints.app.render_as_string(hide_password=False)


def _fill(
    app_url: str, secret_key: str, encryption_key: str, orgs: int, connections_per_org: int
) -> tuple[list[Tenant], str]:
    factory = make_session_factory(make_engine(app_url, pool_size=1))
    vault, signer = Vault(StaticKeys([encryption_key])), TokenSigner(secret_key)
    tenants = []
    with transaction(factory) as session:
        email = create_user(session, "bench@example.com", PASSWORD).email
    for number in range(orgs):
        with transaction(factory) as session:
            user = UserRepository(session).add(User(email=f"owner{number}@example.com"))
            org = create_organization(session, vault, f"Org {number}")
            UserRepository(session).add_membership(org.id, user.id, Role.OWNER)
            ids = _connections(session, org.id, vault, connections_per_org)
            token = start_session(session, signer, user).access_token
            tenants.append(Tenant(org.slug, token, tuple(ids)))
    return tenants, email


def _connections(session: Session, org_id: int, vault: Vault, count: int) -> list[int]:
    service = ConnectionService(session, org_id, vault, AuditLog(session, org_id, SYSTEM))
    return [
        service.create_connection(
            ConnectionCreate(
                name=f"Source {number}",
                connector="postgres",
                direction=Direction.SOURCE,
                config={
                    "host": "db.example.com",
                    "port": 5432,
                    "database": "shop",
                    "user": "reader",
                    "password": "secret",
                },
            )
        ).id
        for number in range(count)
    ]


def _start(port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        server_command("control_plane.main:create_app", "127.0.0.1", port),
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    if not wait_for(answers, timeout_seconds=START_TIMEOUT_SECONDS):
        process.kill()
        raise BenchmarkError("the control plane did not start")
    return process
