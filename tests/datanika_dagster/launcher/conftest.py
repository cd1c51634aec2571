"""A code server, the control plane's stand-in and databases, for runs that really run."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from datanika_manifest.code_location import CodeLocation
from tests.datanika_dagster.databases import Database, new_database
from tests.datanika_dagster.support.code_servers import code_server
from tests.datanika_dagster.support.control_plane_stand_in import ControlPlaneStandIn, serve
from tests.datanika_dagster.support.graphql import queue_run
from tests.datanika_dagster.support.manifests import SOURCE, WAREHOUSE, manifest
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.support.worker_hosts import RunningHost, worker_host

FLIGHTS = ("acme", "warehouse", "raw", "flights")
PLANES = ("acme", "warehouse", "raw", "planes")


@dataclass
class Stack:
    """Everything that a run needs, and the test's hands on it."""

    instance: DagsterInstance
    context: WorkspaceProcessContext
    control_plane: ControlPlaneStandIn
    source: Database
    warehouse: Database
    sha256: str
    host: RunningHost

    def queue(self, *assets: tuple[str, ...]) -> str:
        return queue_run(self.context, "acme", *assets)

    def launch(self, *assets: tuple[str, ...]) -> str:
        """Does at once what the daemon does with a queued run."""
        run_id = self.queue(*assets)
        self.start(run_id)
        return run_id

    def start(self, run_id: str) -> None:
        self.instance.launch_run(run_id, self.context.create_request_context())

    def run(self, run_id: str) -> DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def finished(self, run_id: str, timeout_seconds: float = 60) -> DagsterRun:
        wait_for(lambda: self.run(run_id).is_finished, timeout_seconds)
        return self.run(run_id)

    def log(self, run_id: str) -> str:
        return "\n".join(str(entry) for entry in self.instance.all_logs(run_id))


@pytest.fixture(scope="module")
def module_databases(postgres_cluster) -> Iterator[tuple[Database, Database]]:
    with new_database(postgres_cluster) as source, new_database(postgres_cluster) as warehouse:
        source.execute(
            "CREATE TABLE flights (id bigint PRIMARY KEY, carrier text)",
            "INSERT INTO flights VALUES (1, 'UA'), (2, NULL), (3, '')",
            "CREATE TABLE planes (tailnum text PRIMARY KEY)",
        )
        yield source, warehouse


@pytest.fixture
def published() -> CodeLocation:
    """What the code server serves; a class of tests may have its own."""
    return manifest()


@pytest.fixture(scope="session")
def shared_worker_host(shared_dagster_home) -> Iterator[RunningHost]:
    """One warm host for all tests: it takes seconds to start."""
    directory = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
    environment = {
        name: value
        for name, value in shared_dagster_home.environment.items()
        if name != "DATANIKA_DAGSTER_STORAGE_URL"
    }
    with worker_host(directory, environment) as host:
        yield host
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def warm_host(shared_worker_host, monkeypatch) -> RunningHost:
    """The shared host, known to the launcher of this process."""
    monkeypatch.setenv("DATANIKA_WORKER_SOCKETS", str(shared_worker_host.socket.parent))
    return shared_worker_host


@pytest.fixture
def stack(
    dagster_home, instance, module_databases, socket_directory, published, monkeypatch, warm_host
):
    source, warehouse = module_databases
    plane = ControlPlaneStandIn(connections={SOURCE: source.secret, WAREHOUSE: warehouse.secret})
    socket_path = socket_directory / "acme.sock"
    with serve(plane):
        sha256 = plane.publish(published)
        url = {"DATANIKA_CONTROL_PLANE_URL": plane.url}
        monkeypatch.setenv("DATANIKA_CONTROL_PLANE_URL", plane.url)
        monkeypatch.setenv("DATANIKA_SERVICE_TOKEN", "service-launcher")
        target = GrpcServerTarget(
            host="localhost", port=None, socket=str(socket_path), location_name="org_acme"
        )
        with (
            code_server("acme", sha256, socket_path, dagster_home.environment | url),
            WorkspaceProcessContext(instance, target) as context,
        ):
            yield Stack(instance, context, plane, source, warehouse, sha256, warm_host)
