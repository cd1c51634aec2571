"""Each command of docker-compose.yml, started by hand with the environment that compose gives it.

The paths of the image become a temporary directory, service names become loopback; PostgreSQL is the
embedded one, prepared by the same `migrate` from a superuser URL.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from datanika_dagster.launcher import host_choice
from datanika_dagster.settings import Settings
from datanika_stack.compose_env import compose_env
from datanika_stack.health import http_answers, socket_accepts
from datanika_stack.layout import PROJECT_ROOT
from datanika_stack.postgres import EmbeddedPostgres
from tests.fixtures.ports import free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
OPERATOR = "operator@datanika.example"


class Deployment:
    """The services of the compose file, as processes of this machine."""

    def __init__(self, root: Path, postgres_port: int, variables: dict[str, str]) -> None:
        self.root = root
        self.api, self.dagster = free_port(), free_port()
        self.variables = variables
        self._postgres_port = postgres_port
        self._services = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())[
            "services"
        ]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        made = (
            "lib",
            "lib/dagster",
            "run/provisioner",
            "run/logins",
            "run/keys",
            "run/code",
            "run/workers",
            "logs",
        )
        for name in made:
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def value(self, text: str) -> str:
        """Substitutes variables as compose does, then the image's and network's names."""
        text = re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", self._variable, text)
        for before, after in (
            ("postgres:5432", f"127.0.0.1:{self._postgres_port}"),
            ("control-plane:8700", f"127.0.0.1:{self.api}"),
            ("gateway:8701", f"127.0.0.1:{self.dagster}"),
            ("0.0.0.0", "127.0.0.1"),
            ("127.0.0.1:8700", f"127.0.0.1:{self.api}"),
            ("127.0.0.1:8701", f"127.0.0.1:{self.dagster}"),
            ("/var/lib/datanika", str(self.root / "lib")),
            ("/run/datanika", str(self.root / "run")),
        ):
            text = text.replace(before, after)
        return {"8700": str(self.api), "8701": str(self.dagster)}.get(text, text)

    def command(self, words: list[str]) -> list[str]:
        program = str(Path(sys.executable).parent / words[0])
        return [program, *map(self.value, words[1:])]

    def environment(self, service: str) -> dict[str, str]:
        image = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(self.root / "lib"),
            "DATANIKA_HOME": str(self.root / "lib"), "PYTHONSAFEPATH": "1", "LANG": "C.UTF-8",
        }  # fmt: skip
        # Without a value: taken over where the user has set it.
        declared = self._services[service]["environment"]
        own = {
            name: self.variables.get(name) if text is None else text
            for name, text in declared.items()
        }
        return image | {name: self.value(text) for name, text in own.items() if text is not None}

    def run(self, service: str) -> str:
        done = subprocess.run(
            self.command(self._services[service]["command"]), env=self.environment(service),
            cwd=self.root / "lib", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    def start(self, service: str) -> None:
        with (self.root / "logs" / f"{service}.log").open("wb") as log:
            self._processes[service] = subprocess.Popen(
                self.command(self._services[service]["command"]),
                env=self.environment(service), cwd=self.root / "lib",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def log(self, service: str) -> str:
        return (self.root / "logs" / f"{service}.log").read_text()

    def is_healthy(self, service: str) -> bool:
        test = self._services[service]["healthcheck"]["test"][1:]
        done = subprocess.run(
            self.command(test), env=self.environment(service), capture_output=True, check=False
        )
        return done.returncode == 0

    def is_alive(self, service: str) -> bool:
        return self._processes[service].poll() is None

    def end(self, service: str) -> None:
        process = self._processes[service]
        process.terminate()
        process.wait(20)

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def _variable(self, found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if name in self.variables:
            return self.variables[name]
        assert kind == "-", f"{name} is required: {rest}"
        return rest


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    short = Path(tempfile.mkdtemp(prefix="dtd", dir="/tmp"))
    variables = dict(
        line.split("=", 1) for line in compose_env().splitlines() if not line.startswith("#")
    )
    cluster = EmbeddedPostgres(
        short / "data", free_port(), short / "socket",
        variables["DATANIKA_POSTGRES_PASSWORD"], durable=False,
    )  # fmt: skip
    try:
        with cluster:
            deployed = Deployment(short / "root", cluster.port, variables)
            deployed.run("migrate")
            for service in ("key-agent", "control-plane", "worker", "provisioner", "code-servers"):
                deployed.start(service)
            wait(lambda: deployed.is_healthy("code-servers"))
            for service in ("worker-host", "gateway", "daemon"):
                deployed.start(service)
            try:
                yield deployed
            finally:
                deployed.stop()
    finally:
        shutil.rmtree(short, ignore_errors=True)


def wait(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


def test_migrating_again_changes_nothing(deployment: Deployment) -> None:
    assert "done" in deployment.run("migrate")


@pytest.mark.parametrize(
    "service",
    [
        *("control-plane", "worker", "provisioner", "key-agent", "gateway", "daemon"),
        *("code-servers", "worker-host"),
    ],
)
def test_each_service_gets_healthy_by_its_own_check(deployment: Deployment, service: str) -> None:
    wait(lambda: deployment.is_healthy(service))
    assert deployment.is_alive(service), deployment.log(service)


def test_the_operator_of_the_environment_can_log_in(deployment: Deployment) -> None:
    wait(http_answers(deployment.api, "/ready"))
    password = deployment.variables["DATANIKA_OPERATOR_PASSWORD"]
    body = json.dumps({"email": OPERATOR, "password": password}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{deployment.api}/api/v1/auth/login",
        body,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["user"]["is_platform_operator"] is True


def test_a_new_org_gets_its_warehouse(deployment: Deployment) -> None:
    wait(http_answers(deployment.api, "/ready"))
    wait(socket_accepts(deployment.root / "run" / "provisioner" / "provisioner.sock"))
    base = f"http://127.0.0.1:{deployment.api}/api/v1"
    body = {"email": "owner@example.com", "password": "correct horse battery", "org_name": "Acme"}
    signed_up = post(f"{base}/auth/signup", body)
    headers = {"Authorization": f"Bearer {signed_up['access_token']}"}
    url = f"{base}/orgs/{signed_up['org']['slug']}/warehouse"
    wait(lambda: get(url, headers)["state"] == "ready")


def workers(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """What `datanika workers list` says in a container that mounts the sockets."""
    command = deployment.command(["datanika", "workers", "list", "--json"])
    done = subprocess.run(
        command, env=deployment.environment("daemon"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {host["host"]: host for host in json.loads(done.stdout)}


def test_a_second_worker_host_takes_over(deployment: Deployment) -> None:
    """The procedure of docs/operations.md, worker hosts."""
    wait(lambda: deployment.is_healthy("worker-host"))
    deployment.start("worker-host-2")
    wait(lambda: deployment.is_healthy("worker-host-2"))
    assert workers(deployment).keys() == {"host_1", "host_2"}
    settings = Settings(worker_sockets=deployment.root / "run" / "workers")
    # SIGTERM: it starts nothing more, and ends with its last child.
    deployment.end("worker-host")
    assert [host.name for host in host_choice.available(settings)] == ["host_2"]
    assert not deployment.is_healthy("worker-host")
    deployment.start("worker-host")
    wait(lambda: deployment.is_healthy("worker-host"))
    deployment.end("worker-host-2")
    assert workers(deployment).keys() == {"host_1"}


def age(heartbeat: Path) -> None:
    """Makes a file as old as it is a while after its process has ended."""
    then = time.time() - 61
    os.utime(heartbeat, (then, then))


@pytest.mark.parametrize(
    ("service", "heartbeat"),
    [
        ("worker", "lib/worker.heartbeat"),
        ("code-servers", "run/code/heartbeat"),
        ("provisioner", None),
        ("key-agent", None),
        ("control-plane", None),
    ],
)
def test_one_that_has_ended_gets_unhealthy(
    deployment: Deployment, service: str, heartbeat: str | None
) -> None:
    wait(lambda: deployment.is_healthy(service))
    deployment.end(service)
    if heartbeat:
        age(deployment.root / heartbeat)
    assert not deployment.is_healthy(service)
    deployment.start(service)
    wait(lambda: deployment.is_healthy(service))


def test_a_code_server_that_does_not_answer_makes_them_unhealthy(deployment: Deployment) -> None:
    wait(lambda: deployment.is_healthy("code-servers"))
    servers = deployment.root / "lib" / "dagster" / "code_servers.json"
    before = servers.read_text()
    deployment.end("code-servers")
    asleep = {"org_id": 99, "sha256": "0" * 64, "state": "asleep", "reason": None}
    servers.write_text(json.dumps({"servers": {"org_none": asleep}}))
    assert deployment.is_healthy("code-servers")
    servers.write_text(json.dumps({"servers": {"org_none": asleep | {"state": "serving"}}}))
    assert not deployment.is_healthy("code-servers")
    servers.write_text(before)
    deployment.start("code-servers")
    wait(lambda: deployment.is_healthy("code-servers"))


def post(url: str, body: dict[str, str]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def get(url: str, headers: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
