"""Jobs of a host: whose they are, how they end, and that nothing else does what a run asks for."""

import json
import os
import signal
import socket
import time

import pytest

from datanika_dagster.launcher.host import client
from datanika_dagster.launcher.host.client import HostRefused
from datanika_dagster.launcher.host.protocol import Kill, StartJob
from tests.datanika_dagster.launcher.host.conftest import LIGHT, environment
from tests.datanika_dagster.launcher.host.light_host import UNREACHED
from tests.datanika_dagster.launcher.host.test_host import is_alive
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.support.worker_hosts import worker_host


def start(connection, *, org_id=7, deadline_seconds=60.0, kind="test", has_network=True, **order):
    """Starts a job that does what `order` says, and returns its name and process id."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = StartJob(
            org_id=org_id, kind=kind, deadline_seconds=deadline_seconds, has_network=has_network
        )
        answer = connection.request(request, [theirs.fileno()])
        ours.sendall(json.dumps(order).encode() + b"\n")
    return answer["job"], answer["pid"]


def ending(connection, job, timeout_seconds=15):
    return wait_for(lambda: connection.ending_of(job), timeout_seconds)


def jobs(host):
    return [one for one in host.children() if one["role"] == "job"]


class TestJobs:
    def test_one_ends_with_its_exit_code_and_what_it_used(self, host):
        with host.running.connect() as connection:
            job, _ = start(connection, exit=75)
            ended = ending(connection, job)
        assert ended["exit"] == 75
        assert ended["reason"] is None
        assert ended["cpu_seconds"] >= 0
        assert 1 << 20 < ended["peak_bytes"] < 1 << 30

    def test_it_is_killed_at_its_deadline(self, host):
        with host.running.connect() as connection:
            job, _ = start(connection, deadline_seconds=0.3, seconds=60)
            assert ending(connection, job)["reason"] == "deadline"

    def test_one_in_blocking_c_code_is_killed_after_its_deadline(self, host):
        with host.running.connect() as connection:
            job, _ = start(connection, deadline_seconds=0.3, blocks=True)
            ended = ending(connection, job)
        assert (ended["exit"], ended["reason"]) == (-signal.SIGKILL, "deadline")

    @pytest.mark.parametrize(("is_hard", "exit_code"), [(False, 130), (True, -signal.SIGKILL)])
    def test_it_is_interrupted_or_killed(self, host, is_hard, exit_code):
        with host.running.connect() as connection:
            job, _ = start(connection, seconds=60)
            time.sleep(0.2)
            client.kill_job(connection, job, is_hard=is_hard)
            ended = ending(connection, job)
        assert (ended["exit"], ended["reason"]) == (exit_code, "cancelled")

    def test_it_dies_with_the_connection_that_started_it(self, host):
        with host.running.connect() as connection:
            _, pid = start(connection, seconds=60)
            assert is_alive(pid)
        wait_for(lambda: not is_alive(pid), 5)

    def test_nobody_kills_anothers_job(self, host):
        with host.running.connect() as one, host.running.connect() as other:
            job, pid = start(one, seconds=60)
            with pytest.raises(HostRefused, match="no such job"):
                other.request(Kill(job=job, signal="KILL"))
            assert is_alive(pid)

    def test_a_client_says_for_which_organization(self, host):
        with host.running.connect() as connection, pytest.raises(HostRefused) as refused:
            start(connection, org_id=None)
        assert refused.value.why == "invalid"

    def test_only_publishing_writes_generated_projects(self, host):
        with host.running.connect() as connection:
            job, _ = start(connection, kind="dbt_parse")
            ending(connection, job)
        assert [path.name for path in (host.home / "dbt_projects").iterdir()] == ["tenant_7"]


class TestJobsOfRuns:
    def test_it_is_the_runs_organizations_whatever_the_run_says(self, host):
        host.launch(org_id=7, job={"seconds": 60}, claims=8, seconds=60)
        (job,) = wait_for(lambda: jobs(host))
        assert job["org_id"] == 7

    def test_it_dies_with_its_killed_run(self, host):
        run_id, pid = host.launch(job={"seconds": 60}, seconds=60)
        (job,) = wait_for(lambda: jobs(host))
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: not is_alive(job["pid"]), 5)
        assert time.monotonic() - killed < 1.5
        host.report(run_id)

    def test_its_run_goes_on_with_it_while_the_host_drains(self, host):
        host.launch(job={"seconds": 2}, seconds=2)
        wait_for(lambda: jobs(host))
        host.running.signal(signal.SIGTERM)
        assert host.running.wait_until_gone() == 0

    @pytest.mark.parametrize(
        "request_",
        [
            {"op": "info"},
            {"op": "status", "run_id": "other"},
            {"op": "terminate", "run_id": "other", "grace_seconds": 0},
            {"op": "launch", "run_id": "mine", "org": "globex", "org_id": 8},
            {"op": "kill", "job": "0123456789abcdef", "signal": "KILL"},
        ],
    )
    def test_a_run_may_ask_for_nothing_else(self, host, tmp_path, request_):
        answer = tmp_path / "answer"
        run_id, _ = host.launch(ask=request_, answer=str(answer))
        host.ended(run_id)
        said = json.loads(answer.read_text())
        assert said["ok"] is False
        assert said["code"] in ("refused", "unknown", "invalid")
        assert host.children() == []


def test_a_job_that_asks_for_no_network_has_none(home):
    """For jobs on local files, which no connector has yet: see `single_trust.ensure_allowed`."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        worker_host(home / "sockets", environment(home), module=f"{LIGHT}_with_fence") as running,
        running.connect() as connection,
    ):
        level = running.info()["isolation"]["level"]
        if level == "none":
            pytest.skip(f"NOT TESTED: {running.info()['isolation']}")
        port = server.getsockname()[1]
        codes = []
        for has_network in (True, False):
            job, _ = start(connection, has_network=has_network, connect=port)
            codes.append(ending(connection, job)["exit"])
    assert codes == [0, UNREACHED]
