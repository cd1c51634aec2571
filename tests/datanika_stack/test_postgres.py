"""The embedded cluster, with its real programs."""

import os
import re
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from datanika_stack.errors import PortBusyError
from datanika_stack.initdb import find_binaries
from datanika_stack.postgres import EmbeddedPostgres
from tests.fixtures.ports import free_port

PASSWORD = "p@ss:/word%20?"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the user, which only root may")


@pytest.fixture
def cluster(short_dir: Path) -> Iterator[EmbeddedPostgres]:
    cluster = EmbeddedPostgres(
        short_dir / "data", free_port(), short_dir / "socket", PASSWORD, durable=False
    )
    yield cluster
    cluster.stop()


def select_one(dsn: str) -> object:
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        return connection.execute("SELECT 1").fetchone()


def test_starts_within_seconds_and_keeps_data(cluster: EmbeddedPostgres) -> None:
    cluster.start()
    with psycopg.connect(cluster.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    cluster.stop()
    assert not cluster.is_running()
    started = time.monotonic()
    cluster.start()
    assert time.monotonic() - started < 5
    with psycopg.connect(cluster.dsn()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_no_line_of_pg_hba_trusts_anybody(cluster: EmbeddedPostgres) -> None:
    cluster.start()
    lines = [
        line.split()
        for line in (cluster.data_dir / "pg_hba.conf").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert {line[-1] for line in lines} == {"scram-sha-256"}
    assert {line[3] for line in lines if line[0] == "host"} == {"127.0.0.1/32", "::1/128"}
    with psycopg.connect(cluster.dsn()) as connection:
        rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        assert rules == [("scram-sha-256",)]
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_initdb_never_wrote_a_trusting_line(
    cluster: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def look(self: EmbeddedPostgres, user: object) -> None:
        seen.append((self.data_dir / "pg_hba.conf").read_text())
        raise RuntimeError("looked")

    monkeypatch.setattr(EmbeddedPostgres, "_write_configuration", look)
    with pytest.raises(RuntimeError, match="looked"):
        cluster.start()
    assert not re.search(r"^[^#\n]*\b(trust|peer)\b", seen[0], re.MULTILINE)


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("way", ["tcp", "socket"])
def test_refuses_without_the_password(cluster: EmbeddedPostgres, password: str, way: str) -> None:
    cluster.start()
    host = "127.0.0.1" if way == "tcp" else str(cluster.socket_dir)
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|authentication"):
        psycopg.connect(
            host=host, port=cluster.port, user="postgres", dbname="postgres",
            password=password or None, passfile="/dev/null",
        )  # fmt: skip


@needs_root
@pytest.mark.parametrize("user", ["nobody", "daemon"])
@pytest.mark.parametrize("way", ["tcp", "socket"])
def test_refuses_a_job_uid_without_password(cluster: EmbeddedPostgres, user: str, way: str) -> None:
    """Security test 44."""
    cluster.start()
    host = "127.0.0.1" if way == "tcp" else str(cluster.socket_dir)
    answer = subprocess.run(
        [find_binaries() / "psql", "-w", "-h", host, "-p", str(cluster.port), "-U", "postgres",
         "-c", "SELECT 1"],
        user=user, extra_groups=[], env={"PATH": "/usr/bin:/bin"}, cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode != 0
    reason = "no password supplied" if way == "tcp" else "Permission denied"
    assert reason in answer.stderr


def test_directories_are_private_and_no_password_file_stays(cluster: EmbeddedPostgres) -> None:
    cluster.start()
    for directory in (cluster.data_dir, cluster.socket_dir):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not list(cluster.data_dir.parent.glob("*.password"))
    for path in cluster.data_dir.parent.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


@needs_root
def test_runs_as_a_user_of_its_own(cluster: EmbeddedPostgres) -> None:
    cluster.start()
    assert psutil.Process(cluster.pid).username() == "datanika-postgres"


@needs_root
def test_reaches_a_closed_directory_without_opening_it(short_dir: Path) -> None:
    closed = short_dir / "closed"
    closed.mkdir(mode=0o700)
    cluster = EmbeddedPostgres(
        closed / "data", free_port(), short_dir / "socket", PASSWORD, durable=False
    )
    with cluster:
        assert select_one(cluster.dsn()) == (1,)
    for user in ("nobody", "daemon"):
        tried = subprocess.run(
            ["/bin/ls", str(closed / "data")], user=user, extra_groups=[], cwd="/",
            capture_output=True, check=False,
        )  # fmt: skip
        assert b"Permission denied" in tried.stderr
    assert closed.stat().st_mode & 0o007 == 0


def test_comes_back_after_its_process_was_killed(cluster: EmbeddedPostgres) -> None:
    cluster.durable = True
    cluster.start()
    with psycopg.connect(cluster.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with psycopg.connect(cluster.dsn()):
        killed = psutil.Process(cluster.pid)
        killed.kill()
        while killed.is_running() and killed.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        cluster.start()
    with psycopg.connect(cluster.dsn()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_adopts_a_server_that_survived_its_starter(cluster: EmbeddedPostgres) -> None:
    cluster.start()
    other = EmbeddedPostgres(cluster.data_dir, cluster.port, cluster.socket_dir, PASSWORD)
    other.start()
    assert other.pid == cluster.pid
    other.stop()
    assert cluster.pid is None


def test_moves_a_survivor_to_another_port(cluster: EmbeddedPostgres) -> None:
    cluster.start()
    before = cluster.pid
    port = free_port()
    other = EmbeddedPostgres(cluster.data_dir, port, cluster.socket_dir, PASSWORD, durable=False)
    with other:
        assert other.pid != before
        assert select_one(other.dsn()) == (1,)
    cluster.stop()


def test_a_stale_pid_file_of_somebody_elses_process_is_no_obstacle(
    cluster: EmbeddedPostgres,
) -> None:
    cluster.start()
    pid_file = cluster.data_dir / "postmaster.pid"
    content = pid_file.read_text().splitlines()
    cluster.stop()
    content[0] = str(os.getpid())
    pid_file.write_text("\n".join(content) + "\n")
    cluster.start()
    assert cluster.is_running()
    assert cluster.pid != os.getpid()


def test_names_the_busy_port(cluster: EmbeddedPostgres) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", cluster.port))
        listener.listen()
        with pytest.raises(PortBusyError, match=rf"port {cluster.port} .*--port"):
            cluster.start()


def test_has_a_session_of_its_own(cluster: EmbeddedPostgres) -> None:
    cluster.start()
    assert os.getsid(cluster.pid or 0) != os.getsid(0)
