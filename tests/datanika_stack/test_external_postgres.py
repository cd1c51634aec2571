"""Roles, schemas, tenancy and warehouses on an older server than the embedded one, as compose has it."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from datanika_stack.databases import ensure_databases
from datanika_stack.deployment import migrate_deployment
from datanika_stack.endpoints import dsn_of, embedded_endpoints, text_of
from datanika_stack.provision import Provisioner
from datanika_stack.secrets import Secrets
from datanika_stack.settings import StackSettings
from tests.fixtures.external_postgres import SERVERS, running_external

ORGANIZATION = (
    "INSERT INTO organizations (id, slug, name, is_suspended, created_at,"
    " updated_at) VALUES (%(id)s, %(slug)s, 'An org', false, now(), now())"
)


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest, stack_secrets: Secrets) -> Iterator[int]:
    with running_external(request.param, stack_secrets.postgres_password) as number:
        yield number


def test_warehouses_on_an_older_server(port: int, stack_secrets: Secrets) -> None:
    endpoints = embedded_endpoints(stack_secrets, port)
    ensure_databases(endpoints)
    ensure_databases(endpoints)
    provisioner = Provisioner(endpoints.provisioner, stack_secrets.warehouse_name_key)
    provisioner.ensure_warehouse(1)
    made = provisioner.ensure_warehouse(1)
    place = {"host": "127.0.0.1", "port": port, "dbname": made.database, "autocommit": True}
    with psycopg.connect(user=made.user, password=made.password, **place) as writer:
        writer.execute("CREATE SCHEMA raw CREATE TABLE raw.t (a int)")
        assert writer.execute("SHOW temp_file_limit").fetchone() == ("4GB",)
        assert writer.execute("SELECT pg_try_advisory_lock(1::bigint)").fetchone() == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("SELECT lo_creat(-1)")
    login = provisioner.create_reader(1)
    for user, password in (
        (made.readonly_user, made.readonly_password),
        (login.user, login.password),
    ):
        with psycopg.connect(user=user, password=password, **place) as reader:
            assert reader.execute("SELECT * FROM raw.t").fetchall() == []
            reader.execute("SET default_transaction_read_only = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("CREATE TEMP TABLE mine (a int)")
        with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
            psycopg.connect(user=user, password=password, **place | {"dbname": "postgres"})
    provisioner.drop_warehouse(1)


def as_org(connection: psycopg.Connection, org_id: int) -> None:
    connection.execute("SELECT set_config('app.org_id', %s, true)", [str(org_id)])


def test_schemas_and_tenancy_on_an_older_server(
    port: int, stack_secrets: Secrets, tmp_path: Path
) -> None:
    endpoints = embedded_endpoints(stack_secrets, port)
    settings = StackSettings(
        home=tmp_path,
        database_url=SecretStr(text_of(endpoints.app)),
        migration_database_url=SecretStr(text_of(endpoints.owner)),
        dagster_storage_url=SecretStr(text_of(endpoints.dagster)),
        provisioner_database_url=SecretStr(text_of(endpoints.provisioner)),
        admin_database_url=SecretStr(text_of(endpoints.admin)),
        secret_key=SecretStr(stack_secrets.secret_key),
        encryption_keys=SecretStr(Fernet.generate_key().decode()),
        operator_password=SecretStr(stack_secrets.operator_password),
    )
    said: list[str] = []
    migrate_deployment(settings, said.append)
    assert said[-1] == "done"
    with psycopg.connect(dsn_of(endpoints.app)) as app:
        for org_id, slug in ((1, "acme"), (2, "globex")):
            as_org(app, org_id)
            app.execute(ORGANIZATION, {"id": org_id, "slug": slug})
            assert app.execute("SELECT slug FROM organizations").fetchall() == [(slug,)]
        assert app.execute("SELECT email FROM users").fetchall() == [(settings.operator_email,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            app.execute(ORGANIZATION, {"id": 3, "slug": "initech"})
        app.rollback()
        assert app.execute("SELECT slug FROM organizations").fetchall() == []
