"""A stack with a master password: sealed at each start, runs that wait, and keys that outlive the API."""

import json
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest

from datanika_manifest.run_records import WAITS_FOR_UNLOCK
from datanika_stack.layout import Home
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.secrets import load
from datanika_stack.state import read_state
from tests.datanika_dagster.databases import Database, new_database
from tests.end_to_end.conftest import Org, RunningStack, datanika, wait_until
from tests.fixtures.ports import free_base_port

MASTER_PASSWORD: Final = f"correct horse {secrets.token_hex(8)}"
QUEUE_WAITS: Final = "is sealed: queued runs wait"
SEALED_TIMES: Final = 3  # the first start, once by command, the second start


@dataclass
class SealedStack:
    """A stack that is started with a master password, its operator's command line, and an org."""

    home: Path
    port: int
    source: Database
    clients: ExitStack
    first_status: dict[str, Any] = field(default_factory=dict)
    first_ready: dict[str, Any] = field(default_factory=dict)
    first_sign_up: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATANIKA_KEY_PROVIDER": "master_password",
            "DATANIKA_ALLOWED_NETWORKS": "127.0.0.0/8",
            "XDG_CONFIG_HOME": str(self.home / "config"),
        }

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments: str, stdin: str = "", exit_code: int = 0) -> str:
        done = datanika(*arguments, "--home", str(self.home), stdin=stdin, **self.environment)
        assert done.returncode == exit_code, done.stdout + done.stderr
        assert MASTER_PASSWORD not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self) -> str:
        return self.command("up", "--detach", "--port", str(self.port))

    def status(self) -> dict[str, Any]:
        return json.loads(self.command("status", "--json"))

    def seal(self) -> None:
        """Seals, and returns once the run queue, which asks every second, knows of it."""
        before = self.log("daemon").count(QUEUE_WAITS)
        self.command("seal")
        wait_until(lambda: self.log("daemon").count(QUEUE_WAITS), lambda now: now > before, 20)

    def log(self, process: str) -> str:
        return (self.home / "logs" / f"{process}.log").read_text()

    def unlock(self) -> None:
        self.command("unlock", "--password-stdin", stdin=f"{MASTER_PASSWORD}\n")

    def pid_of(self, process: str) -> int | None:
        state = read_state(Home.at(self.home))
        assert state
        return next(entry.pid for entry in state.processes if entry.name == process)

    def log_operator_in(self) -> None:
        password = load(Home.at(self.home)).operator_password
        options = ["--email", "operator@datanika.example", "--password-stdin"]
        self.command("login", *options, stdin=f"{password}\n")

    def ready(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.api_url}/ready")
        assert answer.status_code == 200, answer.text
        return answer.json()["checks"]


@pytest.fixture(scope="module")
def stack(source_cluster: EmbeddedPostgres) -> Iterator[SealedStack]:
    home = Path(tempfile.mkdtemp(prefix="dnk", dir="/tmp"))
    home.chmod(0o755)
    with ExitStack() as clients:
        clients.callback(shutil.rmtree, home, ignore_errors=True)
        source = clients.enter_context(new_database(source_cluster))
        source.execute("CREATE TABLE t (id bigint PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
        sealed = SealedStack(home, free_base_port(), source, clients)
        clients.callback(datanika, "down", "--home", str(home))
        sealed.up()
        sealed.first_status = sealed.status()
        sealed.first_ready = sealed.ready()
        sealed.first_sign_up = sign_up(sealed.api_url).status_code
        sealed.log_operator_in()
        sealed.command("keys", "set-password", "--password-stdin", stdin=f"{MASTER_PASSWORD}\n")
        yield sealed


def sign_up(api_url: str) -> httpx.Response:
    body = {
        "email": f"{secrets.token_hex(6)}@example.com",
        "password": "correct horse battery",
        "org_name": "Early",
    }
    return httpx.post(f"{api_url}/api/v1/auth/signup", json=body)


@dataclass
class Tenant:
    """An org with an upload of the source's table."""

    org: Org
    connection: dict[str, Any]
    upload: dict[str, Any]

    def launch(self) -> str:
        return self.org.post(f"uploads/{self.upload['id']}/runs", expected=202)["id"]

    def test_connection(self) -> httpx.Response:
        return self.org.api.post(f"connections/{self.connection['id']}/test")

    def waiting_for(self, run_id: str) -> tuple[str, str | None]:
        run = self.org.get(f"runs/{run_id}")
        return run["status"], run["waiting_for"]

    def log(self, run_id: str) -> list[str]:
        return [line["message"] for line in self.org.get(f"runs/{run_id}/logs")["data"]]


@pytest.fixture(scope="module")
def tenant(stack: SealedStack) -> Tenant:
    running = RunningStack(stack.home, stack.port, {"api_url": stack.api_url}, stack.clients)
    org = running.sign_up("Acme")
    warehouse = wait_until(lambda: org.get("warehouse"), lambda w: w["state"] == "ready", 30)
    connection = org.post(
        "connections",
        name="Source",
        connector="postgres",
        direction="source",
        config=stack.source.config,
    )
    upload = org.post(
        "uploads",
        name="Load",
        source_connection_id=connection["id"],
        destination_connection_id=warehouse["connection_id"],
        config={
            "mode": "single_table",
            "table": "t",
            "target_schema": "raw",
            "write_disposition": "replace",
        },
    )
    org.post("publish", expected=200)
    wait_until(lambda: org.get("manifest"), lambda state: state["state"] == "live", 30)
    return Tenant(org, connection, upload)


def test_the_first_start_is_sealed_and_says_what_to_do(stack: SealedStack):
    assert stack.first_status["state"] == "running"
    assert stack.first_status["seal"] == "uninitialized"
    assert "datanika keys set-password" in stack.first_status["hint"]
    assert stack.first_ready["keys"].startswith("sealed; ")
    assert "datanika keys status" in stack.first_ready["keys"]
    assert stack.first_sign_up == 423, "there is no key for the new org's secrets"
    now = stack.status()
    assert (now["seal"], now["hint"]) == ("unsealed", None)
    assert stack.ready()["keys"] == "ok"


def test_the_keys_outlive_the_api(stack: SealedStack, tenant: Tenant):
    before = stack.pid_of("control_plane")
    assert before
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: stack.pid_of("control_plane"), lambda pid: pid not in (None, before), 20)
    wait_until(lambda: is_listening(stack), bool, 20)
    assert stack.ready()["keys"] == "ok"
    answer = tenant.test_connection()
    assert answer.is_success, answer.text
    assert answer.json()["ok"], answer.text


def test_a_run_waits_with_its_reason_and_goes_on_after_a_restart(
    stack: SealedStack, tenant: Tenant
):
    stack.seal()
    answer = tenant.test_connection()
    assert answer.status_code == 423, answer.text
    run_id = tenant.launch()
    stack.source.execute("INSERT INTO t VALUES (3)")
    wait_until(lambda: tenant.log(run_id), lambda log: WAITS_FOR_UNLOCK in log, 20)
    assert tenant.waiting_for(run_id) == ("pending", "unlock")

    assert MASTER_PASSWORD not in stack.command("down")
    assert "datanika unlock" in stack.up()
    assert stack.status()["seal"] == "sealed"
    assert tenant.waiting_for(run_id) == ("pending", "unlock")

    stack.unlock()
    run = tenant.org.wait_for_run(run_id)
    assert (run["status"], run["waiting_for"]) == ("success", None), run["error"]
    assert run["assets"][0]["rows"] == 3
    assert tenant.log(run_id).count(WAITS_FOR_UNLOCK) == 1


def test_it_waits_quietly_and_the_password_is_nowhere(stack: SealedStack, tenant: Tenant):
    told = [line for line in stack.log("worker").splitlines() if "sealed" in line]
    assert told
    assert len(told) <= 2 * SEALED_TIMES, "once when it begins, once when it ends"
    assert all(" INFO " in line for line in told)
    # A daemon that was still starting when the first password was set has never been sealed then.
    assert SEALED_TIMES - 1 <= stack.log("daemon").count(QUEUE_WAITS) <= SEALED_TIMES
    for path in stack.home.rglob("*"):
        if path.is_file() and path.stat().st_size < 50_000_000:
            assert MASTER_PASSWORD.encode() not in path.read_bytes(), path
    for process in psutil.process_iter():
        try:
            words = " ".join([*process.cmdline(), *process.environ().values()])
        except psutil.Error:
            continue
        assert MASTER_PASSWORD not in words, process


def is_listening(stack: SealedStack) -> bool:
    try:
        return httpx.get(f"{stack.api_url}/health").is_success
    except httpx.TransportError:
        return False
