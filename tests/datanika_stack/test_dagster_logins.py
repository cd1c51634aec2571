"""Orgs' logins in Dagster's storage as the stack makes them: limits, other databases, another key."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from sqlalchemy import make_url

from datanika_dagster.row_security.installation import install
from datanika_dagster.run_logins import reader_url_of, run_login, url_of
from datanika_dagster.storage import StampingRunStorage
from datanika_stack.dagster_logins import (
    DagsterLogins,
    LoginsUnavailableError,
    ReadyOrgs,
    RemoteLogins,
)
from datanika_stack.endpoints import DatabaseEndpoints, dsn_of, text_of
from datanika_stack.locations import CodeLocation
from datanika_stack.overdue_transactions import OverdueTransactions
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.provision import Provisioner
from datanika_stack.provision_server import (
    ProvisionServer,
    Request,
    login_operations,
    warehouse_operations,
)

KEY = "one key"
ACME = CodeLocation(31, "acme", "a" * 64, "token")


@pytest.fixture(scope="module")
def dagster(endpoints: DatabaseEndpoints) -> DatabaseEndpoints:
    """The stack's endpoints, with Dagster's tables made and secured."""
    for storage in (StampingRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
        storage(text_of(endpoints.dagster))
    with psycopg.connect(dsn_of(endpoints.dagster), autocommit=True) as owner:
        install(owner, str(endpoints.provisioner.username))
    return endpoints


@pytest.fixture
def logins(dagster: DatabaseEndpoints) -> Iterator[DagsterLogins]:
    made = DagsterLogins(dagster.provisioner, dagster.dagster, KEY)
    made.ensure(ACME)
    yield made
    made.drop(ACME.org_id)


def urls(dagster: DatabaseEndpoints, key: str = KEY) -> list[str]:
    storage = text_of(dagster.dagster)
    both = [make(storage, ACME.org_id, key) for make in (url_of, reader_url_of)]
    return [dsn_of(make_url(url)) for url in both]


def roles(cluster: EmbeddedPostgres) -> list[tuple[object, ...]]:
    question = (
        "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication,"
        " rolbypassrls, rolconnlimit FROM pg_roles"
        " WHERE rolname LIKE 'datanika\\_run\\_%' OR rolname LIKE 'datanika\\_read\\_%'"
        " ORDER BY rolname"
    )
    with psycopg.connect(cluster.dsn()) as admin:
        return admin.execute(question).fetchall()


def test_limits(logins: DagsterLogins, dagster: DatabaseEndpoints, stack_cluster):
    powerless = (False,) * 5
    assert roles(stack_cluster) == [
        ("datanika_read_31", True, *powerless, 10),
        ("datanika_run_31", True, *powerless, 40),
    ]
    found = []
    for url in urls(dagster):
        with psycopg.connect(url) as connection:
            names = ("statement_timeout", "temp_file_limit", "default_transaction_read_only")
            found.append([connection.execute(f"SHOW {name}").fetchone()[0] for name in names])
    assert found == [["10min", "1GB", "off"], ["1min", "1GB", "on"]]


def test_they_open_no_other_database(
    logins: DagsterLogins, dagster: DatabaseEndpoints, stack_cluster: EmbeddedPostgres,
    provisioner: Provisioner,
):  # fmt: skip
    warehouse = provisioner.ensure_warehouse(ACME.org_id).database
    with psycopg.connect(stack_cluster.dsn()) as admin:
        names = {row[0] for row in admin.execute("SELECT datname FROM pg_database").fetchall()}
    assert names >= {"postgres", "template1", "datanika", "dagster", warehouse}
    for url in urls(dagster):
        for name in names - {"dagster"}:
            with pytest.raises(psycopg.OperationalError, match=r"CONNECT|not currently accepting"):
                psycopg.connect(url, dbname=name)
    provisioner.drop_warehouse(ACME.org_id)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMP TABLE mine (a int)",
        "CREATE TABLE mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT lo_creat(-1)",
        "SELECT pg_advisory_lock(1)",
        "SELECT * FROM pg_stat_activity",
        "SELECT datanika.register_logins(32, 'globex')",
        "SELECT datanika.forget_logins(31)",
        "CREATE ROLE mine",
        "GRANT datanika_dagster_runs TO datanika_read_31",
        "SET ROLE dagster",
        "SET SESSION AUTHORIZATION dagster",
        "ALTER TABLE runs DISABLE ROW LEVEL SECURITY",
        "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
        "COPY runs TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
def test_they_can_make_nothing(logins: DagsterLogins, dagster: DatabaseEndpoints, statement: str):
    for url in urls(dagster):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_notify_stays_possible(logins: DagsterLogins, dagster: DatabaseEndpoints):
    with psycopg.connect(urls(dagster)[0], autocommit=True) as connection:
        connection.execute("NOTIFY run_events, 'x'")


def test_another_key_gives_other_passwords(logins: DagsterLogins, dagster: DatabaseEndpoints):
    DagsterLogins(dagster.provisioner, dagster.dagster, "another key").ensure(ACME)
    for old, new in zip(urls(dagster), urls(dagster, "another key"), strict=True):
        psycopg.connect(new).close()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(old)


def test_a_number_and_a_slug_stay_together(logins: DagsterLogins):
    for other in (CodeLocation(31, "globex", "a", "t"), CodeLocation(32, "acme", "a", "t")):
        with pytest.raises(LoginsUnavailableError, match="not each other's"):
            logins.ensure(other)


def test_dropped_ones_open_nothing(logins: DagsterLogins, dagster: DatabaseEndpoints):
    logins.drop(ACME.org_id)
    logins.drop(ACME.org_id)
    for url in urls(dagster):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
    with psycopg.connect(dsn_of(dagster.dagster)) as owner:
        assert owner.execute("SELECT * FROM datanika.logins").fetchall() == []


def test_an_org_waits_for_its_logins(dagster: DatabaseEndpoints, caplog: pytest.LogCaptureFixture):
    made = DagsterLogins(dagster.provisioner, dagster.dagster, KEY)
    orgs = ReadyOrgs(made)
    stranger = CodeLocation(32, "acme", "b" * 64, "token")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert orgs.of([ACME, stranger]) == [ACME]
    assert len(caplog.messages) == 1
    made.drop(ACME.org_id)
    nobody = DagsterLogins(dagster.provisioner.set(port=9), dagster.dagster, KEY)
    assert ReadyOrgs(nobody).of([ACME]) == []


def test_an_org_that_comes_back_gets_its_logins_again(
    logins: DagsterLogins, dagster: DatabaseEndpoints
):
    orgs = ReadyOrgs(logins)
    assert orgs.of([ACME]) == [ACME]
    assert orgs.of([]) == []
    logins.drop(ACME.org_id)
    assert orgs.of([ACME]) == [ACME]
    for url in urls(dagster):
        psycopg.connect(url).close()


def test_one_org_without_logins_keeps_no_other_waiting(
    logins: DagsterLogins, caplog: pytest.LogCaptureFixture
):
    broken = CodeLocation(0, "broken", "b" * 64, "token")
    keyless = ReadyOrgs(DagsterLogins(make_url("postgresql+psycopg://h:9/d"), make_url("x://"), ""))
    assert ReadyOrgs(logins).of([broken, ACME]) == [ACME]
    assert keyless.of([ACME]) == []


@pytest.mark.parametrize("answer", [b"[]", b"null", b'"no"', b""])
def test_a_provisioner_that_says_something_else(short_dir: Path, answer: bytes):
    path = short_dir / "odd.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def speak() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer + b"\n")

    thread = threading.Thread(target=speak)
    thread.start()
    with pytest.raises(LoginsUnavailableError):
        RemoteLogins(path).ensure(ACME)
    thread.join(5)
    listener.close()


def test_over_the_socket(
    dagster: DatabaseEndpoints, provisioner: Provisioner, stack_cluster, short_dir: Path
):
    made = DagsterLogins(dagster.provisioner, dagster.dagster, KEY)
    server = ProvisionServer(login_operations(made), short_dir / "logins" / "logins.sock")
    server.start()
    try:
        remote = RemoteLogins(short_dir / "logins" / "logins.sock")
        remote.ensure(ACME)
        assert {row[0] for row in roles(stack_cluster)} >= {run_login(31)}
        with pytest.raises(LoginsUnavailableError, match="not each other's"):
            remote.ensure(CodeLocation(31, "globex", "a", "t"))
        assert ask(short_dir / "logins" / "logins.sock", "drop_warehouse")["ok"] is False
        # Deleted, for as long as nobody brings it back.
        operations = warehouse_operations(provisioner, made)
        operations["close_reader"](Request(31))
        assert len(roles(stack_cluster)) == 2
        operations["close_logins"](Request(31))
        assert roles(stack_cluster) == []
        remote.ensure(ACME)
        # Gone for good.
        operations["drop_warehouse"](Request(31))
        assert roles(stack_cluster) == []
    finally:
        server.close()
    with pytest.raises(LoginsUnavailableError):
        remote.ensure(ACME)


def ask(path: Path, operation: str) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(json.dumps({"op": operation, "org_id": 31}).encode() + b"\n")
        return json.loads(connection.makefile("rb").readline())


def test_no_password_without_a_key():
    with pytest.raises(ValueError, match="DATANIKA_DAGSTER_LOGIN_KEY"):
        url_of("postgresql+psycopg2://h/d", 1, "")


def test_a_url_keeps_its_place_and_loses_its_login():
    url = make_url(url_of("postgresql+psycopg2://owner:secret@h:5/d?sslmode=verify-full", 7, "k"))
    assert (url.username, url.host, url.port, url.database) == ("datanika_run_7", "h", 5, "d")
    assert url.query == {"sslmode": "verify-full"}
    assert url.password not in (None, "secret")


class TestOverdueTransactions:
    def test_a_session_that_sets_its_limits_aside_is_ended(
        self, logins: DagsterLogins, dagster: DatabaseEndpoints
    ):
        ends = OverdueTransactions(dagster.provisioner, longest_seconds=0.5)
        with (
            psycopg.connect(urls(dagster)[0]) as held,
            psycopg.connect(urls(dagster)[0], autocommit=True) as idle,
            psycopg.connect(dsn_of(dagster.dagster)) as owner,
        ):
            for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                held.execute(f"SET {name} = 0".encode())
            for connection in (held, owner, idle):
                connection.execute("SELECT 1 FROM runs")
            assert ends.end() == []
            time.sleep(0.6)
            assert ends.end() == [run_login(ACME.org_id)]
            with pytest.raises(psycopg.OperationalError):
                held.execute("SELECT 1")
            for connection in (owner, idle):
                assert connection.execute("SELECT 1").fetchone() == (1,)

    def test_it_looks_by_itself(self, logins: DagsterLogins, dagster: DatabaseEndpoints):
        ends = OverdueTransactions(dagster.provisioner, longest_seconds=0.1, look_seconds=0.1)
        ends.start()
        try:
            with (
                psycopg.connect(urls(dagster)[1]) as held,
                pytest.raises(psycopg.OperationalError, match=r"terminat|closed"),
            ):
                held.execute("SELECT pg_sleep(20) FROM alembic_version")
        finally:
            ends.close()
        assert not ends.is_alive()

    def test_a_server_that_is_away_is_said_once(self, dagster: DatabaseEndpoints, caplog):
        ends = OverdueTransactions(dagster.provisioner.set(port=1), look_seconds=0.05)
        ends.start()
        time.sleep(0.5)
        ends.close()
        assert [record.getMessage()[:24] for record in caplog.records] == [
            "overdue transactions can"
        ]
