"""A server that nobody has verified is never told the password in clear text."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import psycopg2
import pytest

from datanika_dagster.connectors import connection_test
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.registry import endpoint
from datanika_dagster.launcher.job import JobError
from datanika_dagster.transformations import warehouse
from datanika_stack.postgres import EmbeddedPostgres
from tests.datanika_dagster.databases import LOOPBACK, Database, RecordingJob

REFUSED = "authentication method requirement"


@pytest.fixture
def asks_in_clear_text(database: Database, postgres_cluster: EmbeddedPostgres) -> Iterator[None]:
    hba = postgres_cluster.data_dir / "pg_hba.conf"
    before = hba.read_text()

    def use(text: str) -> None:
        with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as admin:
            hba.write_text(text)
            admin.execute("select pg_reload_conf()")
        time.sleep(0.2)

    use(f"host {database.name} postgres 127.0.0.1/32 password\n{before}")
    try:
        yield
    finally:
        use(before)


@pytest.mark.usefixtures("asks_in_clear_text")
class TestClearText:
    def test_is_refused_and_says_what_to_do(self, database: Database, tmp_path: Path) -> None:
        payload = {"connection": "shop", "direction": "source", "allowed_networks": LOOPBACK}
        with pytest.raises(JobError, match="verify-full") as caught:
            connection_test.run(RecordingJob(tmp_path), payload, {"shop": database.secret})
        assert (caught.value.code, caught.value.field) == ("connection.auth", "sslmode")

    def test_is_refused_by_the_driver_of_dlt(self, database: Database) -> None:
        with pytest.raises(psycopg2.OperationalError, match=REFUSED):
            psycopg2.connect(endpoint(database.secret, LOOPBACK).url())

    def test_is_refused_by_the_driver_of_dbt(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        variables: dict[str, str] = {}
        monkeypatch.setattr("datanika_dagster.settings.put_into_environment", variables.update)
        target = endpoint(database.secret, LOOPBACK)
        warehouse.set_environment(target)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(psycopg2.OperationalError, match=REFUSED):
            psycopg2.connect(
                host=target.host,
                port=target.port,
                dbname=target.database,
                user=target.user,
                password=target.password,
            )


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_a_verified_server_may_ask_as_it_likes(sslmode: str) -> None:
    verified = Endpoint("h", 1, "d", "u", "p", sslmode=sslmode)
    assert "require_auth" not in verified.connection_parameters()


def test_every_driver_knows_the_requirement() -> None:
    assert psycopg.pq.version() >= 160000
    assert psycopg2.extensions.libpq_version() >= 160000
