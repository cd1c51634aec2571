"""Which host has a run: also one that drains, and one that says nothing."""

import json
import os
import signal
import socket
import time

import pytest

from datanika_dagster import settings
from datanika_dagster.launcher import host_choice, worker
from datanika_dagster.launcher.host import client, sealed_memory
from datanika_dagster.launcher.host.client import HostUnreachable
from datanika_dagster.launcher.host.protocol import Info, Launch, StartJob
from datanika_dagster.launcher.host_choice import Whereabouts
from datanika_dagster.launcher.worker import Worker
from tests.datanika_dagster.launcher.host.conftest import LIGHT, environment
from tests.datanika_dagster.launcher.host.test_host import is_alive
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.support.worker_hosts import worker_host


@pytest.fixture
def config(host, monkeypatch):
    monkeypatch.setattr(host_choice, "STATUS_SECONDS", 0.5)
    monkeypatch.setenv("DATANIKA_WORKER_SOCKETS", str(host.running.socket.parent))
    return settings.read()


class TestDraining:
    @pytest.fixture
    def run_id(self, host, home, config):
        """A run on a draining host, with another host beside it."""
        run_id, _ = host.launch(seconds=60)
        host.running.signal(signal.SIGTERM)
        wait_for(lambda: host.running.info()["is_draining"])
        sockets = host.running.socket.parent
        with worker_host(sockets, environment(home), name="second", module=LIGHT):
            yield run_id

    def test_its_run_is_not_launched_again_on_another(self, host, config, run_id):
        (run,) = host.children()
        order_fd = sealed_memory.sealed(b"{}")
        request = Launch(run_id=run_id, org="acme", org_id=7)
        started = host_choice.launch(host_choice.available(config), request, order_fd)
        os.close(order_fd)
        assert (started.pid, started.host) == (run["pid"], "test")
        assert [len(one.children) for one in client.hosts_in(config.worker_sockets)] == [0, 1]

    def test_its_run_is_found_without_a_tag(self, config, run_id):
        assert host_choice.find_run(config, run_id) is Whereabouts.HERE
        assert host_choice.find_run(config, "another") is Whereabouts.NOWHERE

    def test_its_run_is_terminated_without_a_tag(self, host, config, run_id):
        assert host_choice.terminate(config, None, run_id, grace_seconds=5)
        assert host.running.wait_until_gone() == 0

    def test_its_run_lives_whatever_host_the_tag_names(self, config, run_id):
        elsewhere = Worker("another container", 7, "1", "second")
        assert host_choice.status(config, elsewhere, run_id)[0] == "RUNNING"
        gone = Worker("another container", 7, "1", "gone")
        assert host_choice.status(config, gone, run_id)[0] == "RUNNING"
        assert host_choice.status(config, gone, "another")[0] == "NOT_FOUND"


def test_a_run_goes_to_the_next_where_a_host_is_gone_by_then(host, home, config):
    with worker_host(host.running.socket.parent, environment(home), name="a", module=LIGHT) as gone:
        hosts = host_choice.available(config)
        gone.signal(signal.SIGKILL)
        gone.wait_until_gone()
    assert [one.name for one in hosts] == ["a", "test"]
    order_fd = sealed_memory.sealed(json.dumps({"seconds": 60}).encode())
    request = Launch(run_id="r-1", org="acme", org_id=7)
    started = host_choice.launch(hosts, request, order_fd)
    assert started.host == "test"
    with pytest.raises(HostUnreachable, match="'a' does not listen"):
        host_choice.launch(hosts[:1], request, order_fd)
    os.close(order_fd)


class TestSilent:
    def test_its_run_lives_until_it_is_known_to_have_ended(self, host, config):
        run_id, pid = host.launch(seconds=60)
        here = Worker(**vars(worker.of_pid(pid)) | {"host": "test"})
        elsewhere = Worker("another container", pid, "1", "test")
        host.running.signal(signal.SIGSTOP)
        assert host_choice.status(config, here, run_id)[0] == "RUNNING"
        assert host_choice.status(config, elsewhere, run_id)[0] == "RUNNING"
        assert host_choice.find_run(config, run_id) is Whereabouts.UNKNOWN
        assert not host_choice.terminate(config, elsewhere, run_id, grace_seconds=5)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not worker.is_alive(here), 5)
        assert host_choice.status(config, here, run_id)[0] == "NOT_FOUND"
        host.running.signal(signal.SIGCONT)
        host.report(run_id)
        assert host_choice.status(config, elsewhere, run_id)[0] == "FAILED"

    def test_a_killed_host_has_no_runs(self, host, config):
        run_id, pid = host.launch(seconds=60)
        host.running.signal(signal.SIGKILL)
        host.running.wait_until_gone()
        wait_for(lambda: not is_alive(pid), 5)
        elsewhere = Worker("another container", pid, "1", "test")
        assert host_choice.status(config, elsewhere, run_id)[0] == "NOT_FOUND"
        assert host_choice.find_run(config, run_id) is Whereabouts.NOWHERE

    def test_a_job_outlives_a_question_that_was_not_answered_in_time(self, host):
        with host.running.connect() as connection:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                request = StartJob(org_id=7, kind="test", deadline_seconds=60)
                pid = connection.request(request, [theirs.fileno()])["pid"]
                ours.sendall(json.dumps({"seconds": 60}).encode() + b"\n")
                host.running.signal(signal.SIGSTOP)
                for _ in range(2):
                    with pytest.raises(HostUnreachable):
                        connection.request(Info(), timeout_seconds=0.2)
                host.running.signal(signal.SIGCONT)
                time.sleep(0.2)
                assert is_alive(pid)
                # Not the late answer to one of the questions before.
                job = connection.request(request, [theirs.fileno()])
                assert job["pid"] != pid
                assert connection.request(Info())["host"] == "test"
