"""An external PostgreSQL that takes nothing but TLS: every URL verifies it, and refuses another."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from datanika_dagster.connectors import registry
from datanika_stack.databases import ensure_databases
from datanika_stack.deployment import migrate_deployment
from datanika_stack.endpoints import DatabaseEndpoints, dsn_of, embedded_endpoints, text_of
from datanika_stack.errors import StackError
from datanika_stack.provision import Provisioner, as_message
from datanika_stack.secrets import Secrets
from datanika_stack.settings import StackSettings
from tests.datanika_dagster.certificates import authority
from tests.datanika_dagster.tls_server import TlsServer, running_tls_server

SETTING_OF = {
    "app": "database_url",
    "owner": "migration_database_url",
    "dagster": "dagster_storage_url",
    "provisioner": "provisioner_database_url",
    "admin": "admin_database_url",
}


ONLY_TLS = "hostssl all all 127.0.0.1/32 scram-sha-256"


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files with the authority that signed the server's certificate, and with another one."""
    directory = tmp_path_factory.mktemp("roots")
    return {name: directory / f"{name}.crt" for name in ("trusted", "stranger")}


@pytest.fixture(scope="module")
def server(roots: dict[str, Path]) -> Iterator[TlsServer]:
    """Somebody else's server, which takes passwords over TLS alone."""
    authorities = {name: authority(name) for name in roots}
    for name, path in roots.items():
        path.write_text(authorities[name].pem)
    trusted = authorities["trusted"]
    with running_tls_server() as running:
        running.use(trusted.issue("db", names=("127.0.0.1",)), trusted.pem, ONLY_TLS)
        yield running


@pytest.fixture(scope="module")
def secrets(stack_secrets: Secrets, server: TlsServer) -> Secrets:
    return replace(stack_secrets, postgres_password=server.superuser_password)


@pytest.fixture(scope="module")
def endpoints(server: TlsServer, secrets: Secrets, roots: dict[str, Path]) -> DatabaseEndpoints:
    return verifying(server, secrets, roots["trusted"])


def verifying(server: TlsServer, secrets: Secrets, root: Path) -> DatabaseEndpoints:
    """Every URL with verify-full and an authority."""
    plain = embedded_endpoints(secrets, server.port)
    tls = {"sslmode": "verify-full", "sslrootcert": str(root)}
    urls = {
        field.name: getattr(plain, field.name).update_query_dict(tls) for field in fields(plain)
    }
    return replace(plain, **urls)


@pytest.fixture(scope="module")
def migrated(
    endpoints: DatabaseEndpoints, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> DatabaseEndpoints:
    settings = StackSettings(
        home=tmp_path_factory.mktemp("home"),
        secret_key=SecretStr(secrets.secret_key),
        encryption_keys=SecretStr(Fernet.generate_key().decode()),
        operator_password=SecretStr(secrets.operator_password),
        **{
            setting: SecretStr(text_of(getattr(endpoints, name)))
            for name, setting in SETTING_OF.items()
        },
    )
    migrate_deployment(settings, lambda _: None)
    return endpoints


@pytest.mark.parametrize("name", SETTING_OF)
def test_each_role_is_encrypted(migrated: DatabaseEndpoints, name: str) -> None:
    with psycopg.connect(dsn_of(getattr(migrated, name))) as connection:
        assert connection.pgconn.ssl_in_use


def test_a_warehouse_is_verified_like_its_server(
    migrated: DatabaseEndpoints, secrets: Secrets, roots: dict[str, Path]
) -> None:
    provisioner = Provisioner(migrated.provisioner, secrets.warehouse_name_key)
    config = as_message(provisioner.ensure_warehouse(1))
    assert config["sslmode"] == "verify-full"
    assert "BEGIN CERTIFICATE" in config["ssl_root_certificate"]
    secret = {"connector": "managed_warehouse", "config": config}
    with registry.endpoint(secret, []).connect() as connection:
        assert connection.pgconn.ssl_in_use
    stranger = roots["stranger"].read_text()
    other = {**secret, "config": config | {"ssl_root_certificate": stranger}}
    with pytest.raises(Exception, match="certificate"), registry.endpoint(other, []).connect():
        pass


def test_a_stranger_s_server_is_refused(
    server: TlsServer, secrets: Secrets, roots: dict[str, Path]
) -> None:
    wrong = verifying(server, secrets, roots["stranger"])
    with pytest.raises(StackError, match="certificate verify failed"):
        ensure_databases(wrong)


def test_a_connection_without_tls_is_refused(migrated: DatabaseEndpoints) -> None:
    plain = migrated.app.update_query_dict({"sslmode": "disable"})
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(dsn_of(plain))
