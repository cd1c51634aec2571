"""One unlocking is one for all processes, survives their restarts, and one seal reaches them all."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from control_plane.core.errors import Sealed, Unavailable
from control_plane.core.vault import KeyEncryptionKey
from control_plane.keys.agent import TIMEOUT_SECONDS
from control_plane.keys.agent import KeyAgent as AgentClient
from control_plane.keys.unlocked import KeysInAgent
from datanika_stack.key_agent import KeyAgent
from tests.control_plane.keys.conftest import PASSWORD, Platform, operator_token
from tests.fixtures.applications import make_app
from tests.fixtures.control_plane import ROOT
from tests.fixtures.ports import free_port

KEY = "x5_LMEJrKZ0Zp3jXVZk3qpbRrZFIMH2uQk4Ilvy3C1I="
SEAL_SECONDS = 2.0
LOGIN = {"email": "somebody@example.com", "password": "correct horse battery"}


@dataclass
class Server:
    """A control plane in a process of its own."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def state(self, token: str) -> str:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{self.url}/api/v1/system/seal", headers=headers)
        return answer.json()["state"]

    def sign_up(self, email: str) -> httpx.Response:
        body = {"email": email, "password": "correct horse battery", "org_name": "Org"}
        return httpx.post(f"{self.url}/api/v1/auth/signup", json=body, timeout=30)


@pytest.fixture
def start(platform: Platform, agent: KeyAgent, socket_path: Path) -> Iterator[Callable[[], Server]]:
    """Returns a function that starts another process on the same database and agent."""
    servers: list[Server] = []

    def run() -> Server:
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "DBT_PROJECTS_DIR": str(platform.values["dbt_projects_dir"]),
            "DATANIKA_DATABASE_URL": platform.url,
            "DATANIKA_SECRET_KEY": str(platform.values["secret_key"]),
            "DATANIKA_KEY_PROVIDER": "master_password",
            "DATANIKA_KEY_AGENT_SOCKET": str(socket_path),
        }
        arguments = [
            "-m",
            "uvicorn",
            "control_plane.main:create_app",
            "--factory",
            "--no-access-log",
        ]
        process = subprocess.Popen(
            [sys.executable, *arguments, "--port", str(port)], env=environment, cwd=ROOT
        )
        server = Server(f"http://127.0.0.1:{port}", process)
        servers.append(server)
        wait_until_healthy(server)
        return server

    yield run
    for server in servers:
        server.stop()


def wait_until_healthy(server: Server) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{server.url}/health").status_code == 200:
                return
        assert time.monotonic() < deadline, "the control plane did not start"
        assert server.process.poll() is None
        time.sleep(0.1)


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Returns after how many seconds the condition held."""
    started_at = time.monotonic()
    while not condition():
        assert time.monotonic() - started_at < seconds
        time.sleep(0.05)
    return time.monotonic() - started_at


def test_two_processes_and_the_agent(platform: Platform, start: Callable[[], Server]):
    token = operator_token(platform, make_app(platform.settings()))
    headers = {"Authorization": f"Bearer {token}"}
    one, two = start(), start()
    assert (one.state(token), two.state(token)) == ("uninitialized", "uninitialized")
    assert one.sign_up("too-early@example.com").status_code == 423

    body = {"password": PASSWORD}
    made = httpx.post(
        f"{one.url}/api/v1/system/master-password", headers=headers, json=body, timeout=30
    )
    assert made.status_code == 201, made.text
    wait_for(lambda: two.state(token) == "unsealed", SEAL_SECONDS)
    owner = two.sign_up(LOGIN["email"])
    assert owner.status_code == 201, owner.text

    two.stop()
    two = start()
    assert two.state(token) == "unsealed"

    rows = count_rows(platform)
    assert httpx.post(f"{two.url}/api/v1/system/seal", headers=headers).status_code == 200
    wait_for(lambda: one.sign_up("late@example.com").status_code == 423, SEAL_SECONDS)
    for server in (one, two):
        assert_sealed(server, owner.json())
    assert count_rows(platform) == rows

    unlocked = httpx.post(f"{one.url}/api/v1/system/unlock", headers=headers, json=body, timeout=30)
    assert unlocked.json()["state"] == "unsealed"
    wait_for(lambda: two.sign_up("later@example.com").status_code == 201, SEAL_SECONDS)


def assert_sealed(server: Server, owner: dict) -> None:
    """What needs a secret is 423 and says what to do; the rest works."""
    ready = httpx.get(f"{server.url}/ready")
    assert (ready.status_code, ready.json()["checks"]["keys"]) == (
        200,
        "sealed; an operator sees why: datanika keys status",
    )
    assert httpx.post(f"{server.url}/api/v1/auth/login", json=LOGIN, timeout=30).status_code == 200
    headers = {"Authorization": f"Bearer {owner['access_token']}"}
    connections = f"{server.url}/api/v1/orgs/{owner['org']['slug']}/connections"
    assert httpx.get(connections, headers=headers).status_code == 200
    body = {
        "name": "c",
        "connector": "postgres",
        "direction": "source",
        "config": {"host": "db.example.com", "database": "d", "user": "u", "password": "p"},
    }
    refused = httpx.post(connections, headers=headers, json=body)
    assert refused.status_code == 423
    assert "datanika unlock" in refused.json()["detail"]
    signed_up = server.sign_up("late@example.com")
    assert signed_up.status_code == 423
    assert signed_up.json()["code"] == "sealed"


def count_rows(platform: Platform) -> list[object]:
    tables = ("users", "key_encryption_keys")
    orgs = platform.scalar("SELECT count(*) FROM all_orgs()")
    return [orgs, *(platform.scalar(f"SELECT count(*) FROM {table}") for table in tables)]


class TestClient:
    def test_keys_go_there_and_back(self, agent, socket_path):
        client = AgentClient(socket_path)
        assert client.get() == ()
        client.put([KeyEncryptionKey(3, KEY)])
        assert [(key.id, key.key) for key in client.get()] == [(3, KEY)]
        client.clear()
        assert client.get() == ()

    def test_who_cannot_ask_is_sealed(self, agent, socket_path, monkeypatch):
        keys = KeysInAgent(AgentClient(socket_path))
        keys.put([KeyEncryptionKey(1, KEY)])
        assert keys.get()
        agent.close()
        keys.refresh()
        with pytest.raises(Sealed, match="key agent"):
            keys.get()
        with pytest.raises(Unavailable):
            keys.put([])

    def test_a_silent_agent_is_waited_for_once(self, socket_path):
        socket_path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(socket_path))
            server.listen()
            keys = KeysInAgent(AgentClient(socket_path))
            threads = [threading.Thread(target=assert_gives_none, args=(keys,)) for _ in range(4)]
            started_at = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert time.monotonic() - started_at < 2 * TIMEOUT_SECONDS

    def test_an_answer_is_asked_for_again_within_two_seconds(self, agent, socket_path):
        keys = KeysInAgent(AgentClient(socket_path))
        AgentClient(socket_path).put([KeyEncryptionKey(1, KEY)])
        assert keys.get()
        AgentClient(socket_path).clear()
        assert wait_for(lambda: keys.get() == (), SEAL_SECONDS) < SEAL_SECONDS

    @pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[]\n", b'{"ok": false}\n'])
    def test_a_wrong_answer_is_no_key(self, socket_path, answer):
        with stand_in(socket_path, answer), pytest.raises(Unavailable) as caught:
            AgentClient(socket_path).get()
        assert "nonsense" not in caught.value.detail

    def test_another_users_socket_gets_no_keys(self, agent, socket_path, monkeypatch):
        if os.geteuid() == 0:
            os.chown(socket_path, 12345, 12345)
        else:
            other = os.geteuid() + 1
            monkeypatch.setattr("control_plane.keys.agent.os.geteuid", lambda: other)
        with pytest.raises(Unavailable):
            AgentClient(socket_path).put([KeyEncryptionKey(1, KEY)])


def assert_gives_none(keys: KeysInAgent) -> None:
    with pytest.raises(Sealed):
        keys.get()


@contextlib.contextmanager
def stand_in(socket_path: Path, answer: bytes) -> Iterator[None]:
    """Somebody who answers wrongly."""
    socket_path.parent.mkdir(parents=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(socket_path))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join()
    server.close()
