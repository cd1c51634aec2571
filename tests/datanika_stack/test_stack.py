"""A whole stack: start, crash, resume, stop. Real processes, the real command."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from datanika_dagster.launcher.fence import Level
from datanika_stack.control import StackStatus, status_of
from datanika_stack.endpoints import dsn_of, embedded_endpoints
from datanika_stack.layout import Home
from datanika_stack.ports import is_listening
from datanika_stack.secrets import load
from tests.fixtures.ports import free_base_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
CORE = {"postgres", "key_agent", "provisioner", "control_plane", "worker", "gateway", "daemon",
        "worker_host_1"}  # fmt: skip
SECRET_NAMES = ("postgres_password", "owner_password", "app_password", "secret_key",
                "encryption_keys", "operator_password", "provisioner_password")  # fmt: skip


class Stack:
    """One home and the command that runs it."""

    def __init__(self, path: Path, port: int) -> None:
        self.home = Home.at(path)
        self.port = port

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "LANG": "C.UTF-8"}
        return subprocess.run(
            [Path(sys.executable).parent / "datanika", *words, "--home", self.home.path],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def up(self) -> str:
        done = self.command("up", "--detach", "--port", str(self.port))
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def down(self) -> None:
        assert self.command("down").returncode == 0

    def status(self) -> StackStatus:
        return status_of(self.home)

    def pid(self, name: str) -> int | None:
        return next(
            (entry["pid"] for entry in self.status().processes if entry["name"] == name), None
        )

    def recorded_pid(self, name: str) -> int:
        """Returns what a supervisor wrote, dead or alive."""
        processes = json.loads(self.home.state_file.read_text())["processes"]
        return next(entry["pid"] for entry in processes if entry["name"] == name)

    def supervisor(self) -> psutil.Process:
        return psutil.Process(json.loads(self.home.state_file.read_text())["pid"])

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    path = Path(tempfile.mkdtemp(prefix="dth", dir="/tmp"))
    stack = Stack(path, free_base_port())
    stack.up()
    yield stack
    stack.down()
    shutil.rmtree(path, ignore_errors=True)


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


def family(stack: Stack) -> list[psutil.Process]:
    supervisor = stack.supervisor()
    return [supervisor, *supervisor.children(recursive=True)]


def all_gone(processes: list[psutil.Process]) -> bool:
    return not [
        one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    ]


def test_status_says_what_runs_and_where(stack: Stack) -> None:
    shown = json.loads(stack.command("status", "--json").stdout)
    assert shown["state"] == "running"
    assert {entry["name"] for entry in shown["processes"]} >= CORE
    assert shown["api_url"] == f"http://127.0.0.1:{stack.port}"
    assert shown["dagster_url"] == f"http://127.0.0.1:{stack.port + 1}/dagster"
    assert shown["isolation"] in list(Level)
    with urllib.request.urlopen(f"{shown['api_url']}/ready") as answer:
        ready = json.load(answer)
    assert ready["checks"]["isolation"].startswith(f"{shown['isolation']}: ")
    assert ":***" not in shown["database_url"]
    assert load(stack.home).app_password not in json.dumps(shown)


def test_listens_on_loopback_only(stack: Stack) -> None:
    pids = {one.pid for one in family(stack)}
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.pid in pids and connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_secrets_are_in_their_file_and_nowhere_else(stack: Stack) -> None:
    secrets = [getattr(load(stack.home), name).encode() for name in SECRET_NAMES]
    places = [path for path in stack.home.path.rglob("*") if path.is_file()]
    holding = {
        path.name
        for path in places
        if path.stat().st_size < 5_000_000 and any(one in path.read_bytes() for one in secrets)
    }
    assert holding == {"secrets.env"}
    for process in family(stack):
        arguments = " ".join(process.cmdline()).encode()
        assert not any(one in arguments for one in secrets)


def test_each_process_gets_only_its_own_secrets(stack: Stack) -> None:
    secrets = load(stack.home)
    keys = {secrets.secret_key, secrets.encryption_keys}
    for entry in stack.status().processes:
        if entry["pid"] is None or entry["name"] in ("postgres", "control_plane", "worker"):
            continue
        values = set(psutil.Process(entry["pid"]).environ().values())
        assert not values & keys, entry["name"]
        assert not [value for value in values if secrets.app_password in value], entry["name"]


def test_a_second_up_says_that_it_runs(stack: Stack) -> None:
    before = stack.pid("control_plane")
    assert "running already" in stack.up()
    assert stack.pid("control_plane") == before


def test_the_operator_can_log_in(stack: Stack) -> None:
    password = load(stack.home).operator_password
    credentials = {"email": "operator@datanika.example", "password": password}
    assert stack.post("/auth/login", credentials)["user"]["is_platform_operator"] is True


@pytest.mark.parametrize("name", ["control_plane", "worker", "gateway", "daemon", "postgres"])
def test_a_killed_process_comes_back(stack: Stack, name: str) -> None:
    wait(lambda: stack.status().state == "running")
    before = stack.pid(name)
    os.kill(before or 0, signal.SIGKILL)
    wait(lambda: stack.pid(name) not in (None, before))
    wait(lambda: stack.status().state == "running")


def test_replacing_the_worker_host_is_no_trouble(stack: Stack) -> None:
    wait(lambda: stack.status().state == "running")
    command = [Path(sys.executable).parent / "datanika", "workers", "restart"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    seen = set()
    with subprocess.Popen([*command, "--home", stack.home.path], env=environment) as restart:
        while restart.poll() is None:
            seen.add(stack.status().state)
            time.sleep(0.05)
    assert restart.returncode == 0
    assert seen == {"running", "restarting"}
    wait(lambda: stack.status().state == "running")


def test_env_opens_the_dagster_instance(stack: Stack) -> None:
    exported = stack.command("env").stdout
    script = f"{exported}\nexec {sys.executable} -m dagster instance info"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "StampingRunStorage" in done.stdout


def test_a_killed_supervisor_leaves_nothing_to_the_next_up(stack: Stack) -> None:
    signed_up = stack.post(
        "/auth/signup",
        {"email": "a@example.com", "password": "correct horse battery", "org_name": "Acme"},
    )
    before = family(stack)
    os.kill(before[0].pid, signal.SIGKILL)
    wait(lambda: stack.status().state == "stopped")
    assert not all_gone(before)
    postgres = psutil.Process(stack.recorded_pid("postgres"))
    databases = {postgres, *postgres.children(recursive=True)}
    stack.up()
    assert stack.pid("postgres") == postgres.pid
    assert all_gone([one for one in before if one not in databases])
    wait(lambda: stack.status().state == "running")
    again = stack.post(
        "/auth/login", {"email": "a@example.com", "password": "correct horse battery"}
    )
    assert again["orgs"][0]["id"] == signed_up["org"]["id"]


def test_down_after_a_killed_supervisor_leaves_nothing(stack: Stack) -> None:
    before = family(stack)
    os.kill(before[0].pid, signal.SIGKILL)
    wait(lambda: stack.status().state == "stopped")
    stack.down()
    assert all_gone(before)
    stack.up()


def test_down_leaves_no_process_and_no_socket_and_up_resumes(stack: Stack) -> None:
    before = family(stack)
    stack.down()
    assert all_gone(before)
    assert not [port for port in range(stack.port, stack.port + 4) if is_listening(port)]
    assert not stack.home.runtime_dir.exists()
    stack.up()
    endpoints = embedded_endpoints(load(stack.home), stack.port + 2)
    with psycopg.connect(dsn_of(endpoints.owner)) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_down_ends_a_process_that_ignores_sigterm(stack: Stack) -> None:
    before = family(stack)
    worker = psutil.Process(stack.pid("worker"))
    worker.suspend()
    stack.down()
    assert all_gone(before)
    stack.up()


def test_two_homes_side_by_side(stack: Stack) -> None:
    path = Path(tempfile.mkdtemp(prefix="dth", dir="/tmp"))
    other = Stack(path, free_base_port())
    try:
        other.up()
        assert {stack.status().state, other.status().state} == {"running"}
        assert load(stack.home) != load(other.home)
        endpoints = embedded_endpoints(load(other.home), stack.port + 2)
        with pytest.raises(psycopg.OperationalError, match="authentication"):
            psycopg.connect(dsn_of(endpoints.owner))
    finally:
        other.down()
        shutil.rmtree(path, ignore_errors=True)
    assert stack.status().state == "running"


def test_a_busy_port_is_named_and_nothing_stays() -> None:
    path = Path(tempfile.mkdtemp(prefix="dth", dir="/tmp"))
    other = Stack(path, free_base_port())
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", other.port + 1))
            listener.listen()
            done = other.command("up", "--detach", "--port", str(other.port))
        assert done.returncode == 1
        assert f"port {other.port + 1} (Dagster UI) is in use" in done.stderr
        assert "--port" in done.stderr
        assert other.status().state == "stopped"
    finally:
        other.down()
        shutil.rmtree(path, ignore_errors=True)


def workers(supervisor: psutil.Process) -> set[int]:
    found = set()
    for child in supervisor.children():
        with contextlib.suppress(psutil.Error):
            if child.cmdline()[-1:] == ["control_plane.worker"]:
                found.add(child.pid)
    return found


def test_what_cannot_be_written_neither_stops_the_watch_nor_the_end(stack: Stack) -> None:
    before = family(stack)
    # A directory where the draft of the state file goes refuses it as a full disk would.
    obstacle = stack.home.path / f".supervisor.json.{before[0].pid}"
    obstacle.mkdir()
    try:
        killed = stack.pid("worker")
        os.kill(killed or 0, signal.SIGKILL)
        wait(lambda: bool(workers(before[0]) - {killed}))
        stack.down()
        assert all_gone(before)
    finally:
        obstacle.rmdir()
    stack.up()


@pytest.mark.parametrize("before", ["", "trap '' INT; "], ids=["terminal", "background"])
def test_ctrl_c_stops_a_stack_in_the_foreground(before: str) -> None:
    """Also where a shell has told it to ignore Ctrl-C, as shells do in the background."""
    path = Path(tempfile.mkdtemp(prefix="dth", dir="/tmp"))
    stack = Stack(path, free_base_port())
    up = [Path(sys.executable).parent / "datanika", "up", "--home", path, "--port", stack.port]
    script = f'{before}exec "$@"'
    said = path / "said"
    with said.open("w") as output:
        process = subprocess.Popen(
            ["sh", "-c", script, "sh", *map(str, up)], stderr=output, start_new_session=True
        )
    try:
        # With a CI run beside it a first start has taken more than a minute.
        wait(lambda: stack.status().state == "running" or process.poll() is not None, 180)
        assert process.poll() is None, said.read_text()
        started = family(stack)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0, said.read_text()
        assert all_gone(started)
    finally:
        stack.down()
        process.kill()
        process.wait()
    assert "Note: Jobs " in said.read_text()
    shutil.rmtree(path, ignore_errors=True)
