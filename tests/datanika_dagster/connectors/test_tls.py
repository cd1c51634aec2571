"""TLS to a real server: who is believed, who is shown what, and what a refusal says."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
import pytest

from datanika_dagster.connectors import certificate_files, connection_test, discover
from datanika_dagster.connectors.certificate_files import private_file
from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.connectors.registry import endpoint
from datanika_dagster.launcher.job import JobError
from datanika_dagster.transformations import warehouse
from tests.datanika_dagster.certificates import Authority, Certified, authority
from tests.datanika_dagster.databases import LOOPBACK, Database, RecordingJob, new_database
from tests.datanika_dagster.tls_server import TlsServer, running_tls_server

ROLE = "tls_client"


@pytest.fixture(scope="module")
def trusted() -> Authority:
    return authority("Trusted CA")


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    with running_tls_server() as server:
        yield server


@pytest.fixture(scope="module")
def certified(trusted: Authority) -> Certified:
    return trusted.issue("localhost", names=("localhost",))


@pytest.fixture
def plain(server: TlsServer, certified: Certified, trusted: Authority) -> None:
    """TLS and a password."""
    server.use(certified, trusted.pem)


@pytest.fixture
def tls_database(server: TlsServer) -> Iterator[Database]:
    with new_database(server) as database:
        yield database


def check(database: Database, tmp_path: Path, **config: Any) -> dict[str, Any]:
    secret = {"connector": "postgres", "config": {**database.config, **config}}
    payload = {"connection": "shop", "direction": "source", "allowed_networks": LOOPBACK}
    return connection_test.run(RecordingJob(tmp_path), payload, {"shop": secret})


def refusal(database: Database, tmp_path: Path, **config: Any) -> JobError:
    with pytest.raises(JobError) as caught:
        check(database, tmp_path, **config)
    assert caught.value.code == "connection.tls", caught.value.message
    return caught.value


@pytest.mark.usefixtures("plain")
class TestServer:
    @pytest.mark.parametrize(
        ("sslmode", "host"), [("verify-full", "localhost"), ("verify-ca", "127.0.0.1")]
    )
    def test_is_believed_when_the_authority_signed_it(
        self, tls_database, tmp_path, trusted, sslmode, host
    ):
        config = {"sslmode": sslmode, "host": host, "ssl_root_certificate": trusted.pem}
        assert check(tls_database, tmp_path, **config)["server_version"].startswith("PostgreSQL")

    @pytest.mark.parametrize("sslmode", ["verify-full", "verify-ca"])
    def test_of_another_authority_is_refused(self, tls_database, tmp_path, sslmode):
        foreign = authority("Somebody else").pem
        for root in ({"ssl_root_certificate": foreign}, {}):
            error = refusal(tls_database, tmp_path, host="localhost", sslmode=sslmode, **root)
            assert error.field == "ssl_root_certificate"
            assert "is not signed by ssl_root_certificate" in error.message
            assert "BEGIN" not in error.message

    def test_of_another_name_is_refused(self, tls_database, tmp_path, trusted):
        config = {"sslmode": "verify-full", "ssl_root_certificate": trusted.pem}
        error = refusal(tls_database, tmp_path, host="127.0.0.1", **config)
        assert error.field == "host"
        assert "for another name than '127.0.0.1'" in error.message

    def test_whose_time_is_over_is_refused(self, server, tls_database, tmp_path, trusted):
        expired = trusted.issue("localhost", names=("localhost",), is_expired=True)
        server.use(expired, trusted.pem)
        config = {"sslmode": "verify-full", "ssl_root_certificate": trusted.pem}
        error = refusal(tls_database, tmp_path, host="localhost", **config)
        assert "not valid at this time" in error.message

    def test_wants_tls(self, tls_database, server, certified, trusted, tmp_path):
        server.use(certified, trusted.pem, "hostnossl all all 127.0.0.1/32 reject")
        assert "wants TLS" in refusal(tls_database, tmp_path, sslmode="disable").message

    def test_every_consumer_verifies(self, tls_database, trusted, monkeypatch):
        """psycopg (tests, discovery, COPY), psycopg2 by URL (dlt) and by environment (dbt)."""
        for root, is_believed in ((trusted.pem, True), (authority("Other").pem, False)):
            config = {"host": "localhost", "sslmode": "verify-full", "ssl_root_certificate": root}
            secret = {"connector": "postgres", "config": {**tls_database.config, **config}}
            target = endpoint(secret, LOOPBACK)
            for connect in (_by_endpoint, _by_url, lambda one: _by_environment(one, monkeypatch)):
                if is_believed:
                    assert connect(target) is True
                else:
                    with pytest.raises((JobError, psycopg2.OperationalError)):
                        connect(target)


IN_USE = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def _by_endpoint(target: Endpoint) -> bool:
    with target.connect() as connection:
        return connection.execute(IN_USE).fetchone()[0]


def _ask(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(IN_USE)
        found = cursor.fetchone()[0]
    connection.close()
    return found


def _by_url(target: Endpoint) -> bool:
    return _ask(psycopg2.connect(target.url()))


def _by_environment(target: Endpoint, monkeypatch: pytest.MonkeyPatch) -> bool:
    variables: dict[str, str] = {}
    with monkeypatch.context() as patch:
        patch.setattr("datanika_dagster.settings.put_into_environment", variables.update)
        warehouse.set_environment(target)
        for name, value in variables.items():
            patch.setenv(name, value)
        return _ask(
            psycopg2.connect(
                host=target.host,
                port=target.port,
                dbname=target.database,
                user=target.user,
                password=target.password,
                sslmode=target.sslmode,
            )
        )


class TestClient:
    @pytest.fixture
    def mutual(self, server: TlsServer, certified: Certified, trusted: Authority) -> Iterator[None]:
        """The server wants a certificate of the client beside the password."""
        rule = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca"
        server.use(certified, trusted.pem, rule)
        yield
        server.use(certified, trusted.pem)

    @pytest.fixture
    def by_certificate(self, server: TlsServer, certified: Certified, trusted: Authority) -> None:
        """The server takes the certificate's name for the role."""
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f"drop role if exists {ROLE}")
            admin.execute(f"create role {ROLE} login")
        server.use(certified, trusted.pem, f"hostssl all {ROLE} 127.0.0.1/32 cert")

    def config(self, client: Certified, trusted: Authority, **values: Any) -> dict[str, Any]:
        return {
            "host": "localhost",
            "sslmode": "verify-full",
            "ssl_root_certificate": trusted.pem,
            "ssl_client_certificate": client.certificate,
            "ssl_client_key": client.key,
            **values,
        }

    @pytest.mark.usefixtures("mutual")
    def test_is_believed_by_every_consumer(self, tls_database, trusted, tmp_path, monkeypatch):
        config = self.config(trusted.issue("etl"), trusted)
        assert check(tls_database, tmp_path, **config)
        secret = {"connector": "postgres", "config": {**tls_database.config, **config}}
        target = endpoint(secret, LOOPBACK)
        assert _by_endpoint(target)
        assert _by_url(target)
        assert _by_environment(target, monkeypatch)
        payload = {"connection": "shop", "allowed_networks": LOOPBACK}
        assert discover.run(RecordingJob(tmp_path), payload, {"shop": secret}) == {"tables": []}

    @pytest.mark.usefixtures("mutual")
    def test_without_one_is_told_so(self, tls_database, trusted, tmp_path):
        config = {"sslmode": "verify-full", "ssl_root_certificate": trusted.pem}
        error = refusal(tls_database, tmp_path, host="localhost", **config)
        assert error.field == "ssl_client_certificate"
        assert "set ssl_client_certificate and ssl_client_key" in error.message

    @pytest.mark.usefixtures("mutual")
    def test_of_another_authority_is_told_so(self, tls_database, trusted, tmp_path):
        foreign = authority("Somebody else").issue("etl")
        error = refusal(tls_database, tmp_path, **self.config(foreign, trusted))
        assert "does not accept this client's certificate" in error.message

    @pytest.mark.usefixtures("by_certificate")
    def test_has_the_name_of_its_role(self, tls_database, trusted, tmp_path):
        config = self.config(trusted.issue(ROLE), trusted, user=ROLE)
        assert check(tls_database, tmp_path, **config)
        wrong = self.config(trusted.issue("another"), trusted, user=ROLE)
        error = refusal(tls_database, tmp_path, **wrong)
        assert error.field == "ssl_client_certificate"

    def test_is_not_shown(self, trusted):
        client = trusted.issue("etl")
        target = Endpoint(
            "h",
            1,
            "d",
            "u",
            "p",
            certificates=certificate_files.Certificates(None, client.certificate, client.key),
        )
        for line in client.key.splitlines()[1:-1]:
            assert line not in repr(target)
            assert line not in repr(target.certificates)
            assert line not in target.url()


class TestPrivateFiles:
    def test_are_readable_by_their_owner_alone(self):
        path = Path(private_file("text 1"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == "text 1"
        assert private_file("text 1") == str(path)

    @pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
    def test_are_on_no_disk(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        path = private_file("text 2")
        assert str(Path(path).readlink()).startswith("/memfd:")
        assert list(tmp_path.iterdir()) == []

    def test_elsewhere_are_in_the_jobs_directory(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        monkeypatch.setattr(certificate_files, "_MEMORY_FILES", tmp_path / "missing")
        path = Path(private_file("text 3"))
        assert path.parent == tmp_path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == "text 3"

    def test_are_closed_to_what_is_started(self):
        descriptor = private_file("text 4").rsplit("/", 1)[1]
        if not descriptor.isdecimal():
            pytest.skip("not in memory here")
        code = f"import os; os.fstat({descriptor})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert b"Bad file descriptor" in done.stderr
