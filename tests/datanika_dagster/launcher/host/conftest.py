"""A light host of each test's own: it starts in a moment."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datanika_dagster.launcher.host import sealed_memory
from datanika_dagster.launcher.host.protocol import Launch, Status
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.support.worker_hosts import RunningHost, worker_host

LIGHT = "tests.datanika_dagster.launcher.host.light_host"
TOKEN = "dtk_canary-9931"


@dataclass
class LightHost:
    """A light host, and the directories that it works in."""

    running: RunningHost
    home: Path

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def work(self) -> Path:
        return self.home / "work"

    def launch(self, *, run_id: str | None = None, org_id: int = 7, **order) -> tuple[str, int]:
        """Launches a run that does what `order` says, and returns its id and process id."""
        run_id = run_id or str(uuid.uuid4())
        answer = self.ask(Launch(run_id=run_id, org="acme", org_id=org_id), **order)
        return run_id, answer["worker"]["pid"]

    def ask(self, request: Launch, **order) -> dict:
        order |= {"reports": str(self.reports), "token": TOKEN}
        fd = sealed_memory.sealed(json.dumps(order).encode())
        with self.running.connect() as connection:
            return connection.request(request, [fd])

    def status(self, run_id: str) -> str:
        with self.running.connect() as connection:
            return connection.request(Status(run_id=run_id))["status"]

    def ended(self, run_id: str, timeout_seconds: float = 15) -> str:
        wait_for(lambda: self.status(run_id) != "RUNNING", timeout_seconds)
        return self.status(run_id)

    def report(self, run_id: str, timeout_seconds: float = 15) -> str:
        path = self.reports / run_id
        wait_for(lambda: path.exists() and path.read_text(), timeout_seconds)
        return path.read_text()

    def children(self) -> list[dict]:
        return self.running.info()["children"]


@pytest.fixture
def home() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
    (directory / "reports").mkdir()
    (directory / "dagster").mkdir()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def host(home) -> Iterator[LightHost]:
    with worker_host(home / "sockets", environment(home), module=LIGHT) as running:
        yield LightHost(running, home)


def environment(home: Path) -> dict[str, str]:
    return {"DATANIKA_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
