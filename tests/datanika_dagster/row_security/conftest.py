"""A Dagster database under row-level security, with rows and logins of two orgs in it."""

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from sqlalchemy import URL, make_url

from datanika_dagster.event_log import OrgsEventLogStorage
from datanika_dagster.row_security.installation import install
from datanika_dagster.row_security.statements import READERS, RUNS
from datanika_dagster.run_logins import reader_url_of, url_of
from datanika_dagster.storage import StampingRunStorage
from datanika_stack.dagster_logins import DagsterLogins
from datanika_stack.endpoints import dsn_of

KEY = "a key of the tests"
DATABASE = "dagster_rows"
OWNER, PROVISIONER = "rows_owner", "rows_provisioner"


@dataclass(frozen=True)
class Org:
    org_id: int
    org: str


ACME, GLOBEX = Org(900_001, "acme"), Org(900_002, "globex")


@dataclass(frozen=True)
class Secured:
    """The database, and everybody's way into it."""

    owner: URL
    provisioner: URL
    admin_dsn: str
    version: int

    @property
    def logins(self) -> DagsterLogins:
        return DagsterLogins(self.provisioner, self.owner, KEY)

    def run_url(self, org: Org) -> str:
        return url_of(self.owner.render_as_string(hide_password=False), org.org_id, KEY)

    def reader_url(self, org: Org) -> str:
        return reader_url_of(self.owner.render_as_string(hide_password=False), org.org_id, KEY)

    def as_owner(self) -> psycopg.Connection:
        return psycopg.connect(dsn_of(self.owner), autocommit=True)

    def as_run(self, org: Org) -> psycopg.Connection:
        return psycopg.connect(dsn_of(make_url(self.run_url(org))), autocommit=True)

    def as_reader(self, org: Org) -> psycopg.Connection:
        return psycopg.connect(dsn_of(make_url(self.reader_url(org))), autocommit=True)


def secure(admin_dsn: str, port: int) -> Secured:
    """Makes roles, database, Dagster's tables, policies and logins on a server."""
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {OWNER} LOGIN PASSWORD 'owner'")
        admin.execute(f"CREATE ROLE {PROVISIONER} LOGIN CREATEROLE PASSWORD 'provisioner'")
        admin.execute(f"GRANT SET ON PARAMETER temp_file_limit TO {PROVISIONER}")
        for group in (RUNS, READERS):
            if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [group]).fetchone():
                admin.execute(f"CREATE ROLE {group} NOLOGIN")
            admin.execute(f"GRANT {group} TO {PROVISIONER} WITH ADMIN OPTION")
        admin.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        admin.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
        version = admin.info.server_version // 10_000
    place: dict[str, Any] = {"host": "127.0.0.1", "port": port, "database": DATABASE}
    with psycopg.connect(admin_dsn, autocommit=True, dbname=DATABASE) as admin:
        admin.execute(f"ALTER SCHEMA public OWNER TO {OWNER}")
    owner = URL.create("postgresql+psycopg2", OWNER, "owner", **place)
    provisioner = URL.create("postgresql+psycopg", PROVISIONER, "provisioner", **place)
    text = owner.render_as_string(hide_password=False)
    for storage in (StampingRunStorage, OrgsEventLogStorage, PostgresScheduleStorage):
        storage(text)
    secured = Secured(owner, provisioner, admin_dsn, version)
    with secured.as_owner() as connection:
        install(connection, PROVISIONER)
    for org in (ACME, GLOBEX):
        secured.logins.ensure(org)
    return secured


@pytest.fixture(scope="session")
def secured(postgres_cluster) -> Secured:
    """On the stack's own version of PostgreSQL."""
    return secure(postgres_cluster.dsn(), postgres_cluster.port)
