"""Each reason code against a real server, in time, without a secret."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from datanika_dagster.connectors import connection_test
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.launcher.job import JobError
from datanika_stack.postgres import EmbeddedPostgres
from tests.datanika_dagster.databases import LOOPBACK, Database, RecordingJob
from tests.fixtures.ports import free_port

CANARY = "hunter2-canary"


def check(
    server: Database,
    tmp_path: Path,
    *,
    direction: str = "source",
    networks: Any = LOOPBACK,
    **changed: Any,
) -> dict[str, Any]:
    secret = {"connector": "postgres", "config": {**server.config, **changed}}
    payload = {"connection": "shop", "direction": direction, "allowed_networks": networks}
    return connection_test.run(RecordingJob(tmp_path), payload, {"shop": secret})


@pytest.mark.parametrize("direction", ["source", "destination", "both"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1"])
def test_works(database: Database, tmp_path: Path, direction: str, host: str) -> None:
    result = check(database, tmp_path, direction=direction, host=host)
    assert result["server_version"].startswith("PostgreSQL 1")
    assert result["duration_ms"] < 2000


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        ({"password": CANARY}, "connection.auth", "password"),
        ({"user": "nobody", "password": CANARY}, "connection.auth", "password"),
        ({"database": "no such db"}, "connection.database_missing", "database"),
        ({"sslmode": "require"}, "connection.tls", "sslmode"),
        ({"sslmode": "verify-full"}, "connection.tls", "sslmode"),
        ({"host": "no-such-host.invalid"}, "connection.dns", "host"),
        ({"host": "169.254.169.254"}, "connection.network_denied", "host"),
    ],
)
def test_says_why_not(
    database: Database, tmp_path: Path, changed: dict[str, Any], code: str, field: str
) -> None:
    started = time.monotonic()
    with pytest.raises(JobError) as caught:
        check(database, tmp_path, **changed)
    assert (caught.value.code, caught.value.field) == (code, field)
    for secret in (CANARY, database.cluster.superuser_password):
        assert secret not in caught.value.message
    assert caught.value.__cause__ is None
    assert time.monotonic() - started < 2.5


def test_a_closed_port_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        check(database, tmp_path, port=free_port())
    assert caught.value.code == "connection.refused"
    assert caught.value.is_retryable


def test_loopback_is_denied_unless_opened(database: Database, tmp_path: Path) -> None:
    with pytest.raises(JobError) as caught:
        check(database, tmp_path, networks=[])
    assert caught.value.code == "connection.network_denied"
    assert "DATANIKA_ALLOWED_NETWORKS" in caught.value.message


def test_a_service_of_the_platform_is_denied_although_its_network_is_open(
    database: Database, tmp_path: Path
) -> None:
    secret = {"connector": "postgres", "config": database.config}
    payload = {
        "connection": "shop",
        "allowed_networks": LOOPBACK,
        "refused_endpoints": [["127.0.0.1", database.cluster.port]],
    }
    with pytest.raises(JobError) as caught:
        connection_test.run(RecordingJob(tmp_path), payload, {"shop": secret})
    assert caught.value.code == "connection.network_denied"


@pytest.fixture
def stranger() -> Iterator[tuple[socket.socket, int]]:
    """A listening socket of something that is no database."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener, listener.getsockname()[1]


def test_a_silent_server_times_out(
    database: Database, tmp_path: Path, stranger: tuple[socket.socket, int]
) -> None:
    started = time.monotonic()
    with pytest.raises(JobError) as caught:
        check(database, tmp_path, port=stranger[1])
    assert caught.value.code == "connection.timeout"
    assert time.monotonic() - started < 2.5


def test_a_web_server_is_no_database(
    database: Database, tmp_path: Path, stranger: tuple[socket.socket, int]
) -> None:
    listener, port = stranger

    def answer() -> None:
        for _ in range(3):
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    with pytest.raises(JobError, match="no PostgreSQL") as caught:
        check(database, tmp_path, port=port)
    assert caught.value.code == "connection.refused"


@pytest.fixture
def weak_role(database: Database) -> Iterator[str]:
    name = f"weak_{database.name}"
    database.execute(f"create role {name} login password '{CANARY}'")
    yield name
    database.execute(f"drop owned by {name}", f"drop role {name}")


class TestPermission:
    def test_a_source_needs_no_right_to_create(
        self, database: Database, tmp_path: Path, weak_role: str
    ) -> None:
        check(database, tmp_path, user=weak_role, password=CANARY)

    @pytest.mark.parametrize("direction", ["destination", "both"])
    def test_a_destination_must_create_schemas(
        self, database: Database, tmp_path: Path, weak_role: str, direction: str
    ) -> None:
        with pytest.raises(JobError, match="may not create schemas") as caught:
            check(database, tmp_path, direction=direction, user=weak_role, password=CANARY)
        assert caught.value.code == "connection.permission"
        database.execute(f"grant create on database {database.name} to {weak_role}")
        check(database, tmp_path, direction=direction, user=weak_role, password=CANARY)
        schemas = database.rows("select nspname from pg_namespace where nspname !~ '^(pg_|info)'")
        assert schemas == [("public",)]

    def test_connect_may_be_revoked(
        self, database: Database, tmp_path: Path, weak_role: str
    ) -> None:
        database.execute(f"revoke connect on database {database.name} from public")
        with pytest.raises(JobError) as caught:
            check(database, tmp_path, user=weak_role, password=CANARY)
        assert caught.value.code == "connection.permission"


def test_a_server_that_wants_tls(
    database: Database, postgres_cluster: EmbeddedPostgres, tmp_path: Path
) -> None:
    hba = postgres_cluster.data_dir / "pg_hba.conf"
    before = hba.read_text()
    reload = "select pg_reload_conf()"
    try:
        hba.write_text(f"hostnossl {database.name} postgres 127.0.0.1/32 reject\n{before}")
        with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as admin:
            admin.execute(reload)
            time.sleep(0.2)
            with pytest.raises(JobError) as caught:
                check(database, tmp_path, sslmode="disable")
            assert caught.value.code == "connection.tls"
            hba.write_text(before)
            admin.execute(reload)
    finally:
        hba.write_text(before)
    time.sleep(0.2)


def test_a_timeout_names_its_own_length(stranger: tuple[socket.socket, int]) -> None:
    silent = Endpoint("127.0.0.1", stranger[1], "d", "u", "p", addresses=("127.0.0.1",))
    with (
        pytest.raises(JobError, match="did not answer within 3 s"),
        silent.connect(connect_timeout_seconds=3),
    ):
        pass


def test_a_managed_warehouse_needs_no_opened_network(database: Database, tmp_path: Path) -> None:
    config = {key: value for key, value in database.config.items() if key != "sslmode"}
    config.update(readonly_user="reader", readonly_password="x")
    secrets = {"wh": {"connector": "managed_warehouse", "config": config}}
    payload = {"connection": "wh", "direction": "both"}
    assert connection_test.run(RecordingJob(tmp_path), payload, secrets)["server_version"]
