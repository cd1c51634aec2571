"""Which code servers run, under which names, and what Dagster is told about them."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanika_stack.base_environment import base_environment
from datanika_stack.code_servers import CodeServerPlan, CodeServers
from datanika_stack.locations import CodeLocation
from datanika_stack.processes import ProcessState

LONG = "a" * 60
LOCATIONS = [
    CodeLocation(7, LONG, "b" * 64, "token"),
    CodeLocation(8, hashlib.sha256(LONG.encode()).hexdigest()[:40], "c" * 64, "token"),
]


@pytest.fixture
def plan(short_dir: Path) -> CodeServerPlan:
    for name in ("dagster", "logs"):
        (short_dir / name).mkdir()
    return CodeServerPlan(
        dagster_home=short_dir / "dagster",
        socket_dir=short_dir / "code",
        log_dir=short_dir / "logs",
        control_plane_url="http://127.0.0.1:9",
        dagster_reader_url="postgresql+psycopg2://nobody@127.0.0.1:9/none",
        environment=base_environment(),
    )


@pytest.fixture
def servers(plan: CodeServerPlan) -> Iterator[CodeServers]:
    made = CodeServers(plan)
    made.prepare()
    yield made
    for process in made.processes():
        process.end(grace_seconds=0)


def workspace(plan: CodeServerPlan) -> dict[str, str]:
    entries = json.loads(plan.workspace_file.read_text())["load_from"]
    servers = [entry["grpc_server"] for entry in entries]
    return {server["location_name"]: server["socket"] for server in servers}


def test_no_org_can_choose_the_socket_of_another(
    servers: CodeServers, plan: CodeServerPlan
) -> None:
    servers.sync(LOCATIONS)
    assert workspace(plan) == {
        f"org_{LOCATIONS[0].org}": str(plan.socket_dir / "org_7.sock"),
        f"org_{LOCATIONS[1].org}": str(plan.socket_dir / "org_8.sock"),
    }
    names = {process.spec.name for process in servers.processes()}
    assert names == {"code_server_7", "code_server_8"}
    assert {path.stem for path in plan.log_dir.iterdir()} == names


def test_a_full_disk_is_outlived(servers: CodeServers, plan: CodeServerPlan) -> None:
    shutil.rmtree(plan.log_dir)
    plan.workspace_file.unlink()
    # A directory in its place refuses the file, whoever runs the test.
    plan.workspace_file.mkdir()
    servers.sync(LOCATIONS[:1])
    assert [process.state for process in servers.processes()] == [ProcessState.WAITING]
    plan.workspace_file.rmdir()
    plan.log_dir.mkdir()
    servers.sync(LOCATIONS[:1])
    assert list(workspace(plan)) == [LOCATIONS[0].name]
    assert not list(plan.dagster_home.glob(".workspace*"))
