"""Worker hosts are replaced without ending what runs on them."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datanika_dagster.launcher.host import client, sealed_memory
from datanika_dagster.launcher.host.protocol import Launch, Status
from datanika_stack.cli.main import app
from datanika_stack.process_spec import ProcessSpec, ProcessState
from datanika_stack.worker_hosts import WorkerHosts, host_answers, request_restart
from tests.datanika_dagster.support.waiting import wait_for

LIGHT = "tests.datanika_dagster.launcher.host.light_host"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def sockets(short_dir: Path) -> Path:
    return short_dir / "workers"


@pytest.fixture
def hosts(short_dir: Path, sockets: Path):
    (short_dir / "dagster").mkdir()

    def spec(name: str) -> ProcessSpec:
        return ProcessSpec(
            name=f"worker_{name}",
            command=(sys.executable, "-m", LIGHT, "--sockets", str(sockets), "--name", name),
            environment={
                "PATH": "/usr/bin:/bin",
                "DATANIKA_HOME": str(short_dir),
                "DAGSTER_HOME": str(short_dir / "dagster"),
            },
            working_dir=ROOT,
            health=host_answers(sockets / f"{name}.sock"),
            grace_seconds=10,
            stop_signal=signal.SIGINT,
        )

    hosts = WorkerHosts(spec, sockets, short_dir)
    hosts.start()
    serves(hosts)
    yield hosts
    for process in hosts.processes():
        process.end()


def serves(hosts: WorkerHosts) -> None:
    def look() -> bool:
        hosts.tick()
        return hosts.processes()[-1].state is ProcessState.RUNNING

    wait_for(look)


def launch(sockets: Path, run_id: str, **order: float) -> Path:
    host = client.hosts_in(sockets)[0]
    fd = sealed_memory.sealed(json.dumps(order).encode())
    with client.connect(host.path) as connection:
        connection.request(Launch(run_id=run_id, org="acme", org_id=7), [fd])
    os.close(fd)
    return host.path


def status(path: Path, run_id: str) -> str:
    with client.connect(path) as connection:
        return connection.request(Status(run_id=run_id))["status"]


def test_a_restart_starts_another_and_lets_the_first_drain(hosts: WorkerHosts, sockets: Path):
    first = launch(sockets, "long", seconds=4)
    request_restart(sockets)
    assert not hosts.is_restarting
    wait_for(lambda: hosts.tick() or len(hosts.processes()) == 2)
    # Nothing is missing meanwhile: the one that is replaced takes what comes.
    assert hosts.is_restarting
    assert [host.state for host in hosts.core()] == [ProcessState.RUNNING]
    serves(hosts)
    assert not hosts.is_restarting
    wait_for(lambda: hosts.tick() or client.hosts_in(sockets)[-1].is_draining)
    second = launch(sockets, "short")
    assert second != first
    assert status(first, "long") == "RUNNING"
    wait_for(lambda: hosts.tick() or len(hosts.processes()) == 1)
    assert [host.path for host in client.hosts_in(sockets)] == [second]


def test_a_new_host_that_does_not_start_is_no_restart(hosts: WorkerHosts, sockets: Path):
    request_restart(sockets)
    wait_for(lambda: hosts.tick() or len(hosts.processes()) == 2)
    newest = hosts.processes()[-1]
    wait_for(lambda: newest.pid is not None)
    os.kill(newest.pid, signal.SIGKILL)
    wait_for(lambda: hosts.tick() or newest.restarts == 1)
    assert not hosts.is_restarting
    assert hosts.core() == [newest]
    assert newest.state is not ProcessState.RUNNING


def test_the_command_looks_where_the_environment_says(
    hosts: WorkerHosts, sockets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("DATANIKA_WORKER_SOCKETS", str(sockets))
    listed = CliRunner().invoke(app, ["workers", "list", "--json"])
    assert [host["host"] for host in json.loads(listed.stdout)] == ["host_1"]
    elsewhere = CliRunner().invoke(app, ["workers", "list", "--json", "--home", str(tmp_path)])
    assert json.loads(elsewhere.stdout) == []
    # Nobody would answer: who keeps these hosts is not a stack of this machine's user.
    refused = CliRunner().invoke(app, ["workers", "restart"])
    assert refused.exit_code == 1
    assert "SIGTERM" in refused.stderr
    assert not (sockets / "restart").exists()


def test_a_killed_host_is_started_again(hosts: WorkerHosts, sockets: Path):
    (process,) = hosts.processes()
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: hosts.tick() or process.restarts == 1)
    serves(hosts)
    assert len(client.hosts_in(sockets)) == 1


def test_a_stopped_host_is_not_healthy(hosts: WorkerHosts, sockets: Path):
    (process,) = hosts.processes()
    check = host_answers(sockets / "host_1.sock")
    assert check() is True
    os.kill(process.pid, signal.SIGSTOP)
    try:
        assert check() is False
    finally:
        os.kill(process.pid, signal.SIGCONT)
