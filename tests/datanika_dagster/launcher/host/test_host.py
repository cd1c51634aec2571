"""A host and its runs, as real processes that do what the tests say."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from datanika_dagster.launcher import worker
from datanika_dagster.launcher.host import client, sealed_memory
from datanika_dagster.launcher.host.client import HostRefused, HostUnreachable
from datanika_dagster.launcher.host.protocol import Info, Launch, Status, Terminate
from datanika_dagster.launcher.worker import Worker
from tests.datanika_dagster.launcher.host.conftest import LIGHT, TOKEN, LightHost, environment
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.support.worker_hosts import descriptors_of, threads_of, worker_host

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def terminate(host, run_id, grace_seconds):
    with host.running.connect() as connection:
        connection.request(Terminate(run_id=run_id, grace_seconds=grace_seconds))


class TestLaunch:
    def test_tells_who_the_process_is_and_how_it_ends(self, host):
        answer = host.ask(Launch(run_id="r-1", org="acme", org_id=7), seconds=1)
        of_run = Worker(**answer["worker"], host=answer["host"])
        assert worker.is_alive(of_run)
        assert host.status("r-1") == "RUNNING"
        assert host.ended("r-1") == "SUCCESS"
        assert not worker.is_alive(of_run)

    def test_a_run_that_fails_is_failed(self, host):
        run_id, _ = host.launch(exit=1)
        assert host.ended(run_id) == "FAILED"

    def test_an_unknown_run_is_not_found(self, host):
        assert host.status("nobody") == "NOT_FOUND"

    def test_a_second_launch_of_a_living_run_is_refused(self, host):
        run_id, _ = host.launch(seconds=30)
        with pytest.raises(HostRefused) as refused:
            host.launch(run_id=run_id)
        assert refused.value.why == "duplicate"
        assert len(host.children()) == 1

    def test_nobody_starts_what_nobody_waits_for(self, host):
        """A launcher that gave up has put the run back into the queue."""
        host.running.signal(signal.SIGSTOP)
        fd = sealed_memory.sealed(b"{}")
        launch = Launch(run_id="late", org="acme", org_id=7)
        with host.running.connect(0.5) as connection, pytest.raises(HostUnreachable):
            connection.request(launch, [fd])
        os.close(fd)
        host.running.signal(signal.SIGCONT)
        assert host.status("late") == "NOT_FOUND"

    @linux
    def test_a_child_has_its_own_session_directory_and_environment_and_no_others_files(
        self, host, tmp_path
    ):
        _, other = host.launch(seconds=30)
        run_id, pid = host.launch(evidence=str(tmp_path / "evidence"), litter=True)
        host.ended(run_id)
        seen = json.loads((tmp_path / "evidence").read_text())
        assert seen["session"] == seen["pid"] == pid
        directory = Path(seen["directory"])
        assert directory.parent == host.work
        assert set(seen["environment"]) == {"PATH", "LANG", "HOME", "TMPDIR"}
        assert seen["environment"]["HOME"] == str(directory)
        sockets = [one for one in seen["descriptors"] if one.startswith("socket:")]
        assert len(sockets) == 1  # its own connection
        memories = [one for one in seen["descriptors"] if "memfd" in one]
        assert len(memories) == 1  # its own order
        assert is_alive(other)
        wait_for(lambda: not directory.exists(), 10)

    def test_what_a_run_prints_is_in_its_log(self, host):
        run_id, _ = host.launch(output="hello")
        host.ended(run_id)
        assert (host.home / "dagster" / "run_logs" / f"{run_id}.log").read_text() == "hello"


class TestEndings:
    def test_a_killed_run_is_reported_within_a_second(self, host):
        run_id, pid = host.launch(seconds=60)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        assert host.report(run_id, 5) == f"killed by SIGKILL {TOKEN}"
        assert time.monotonic() - killed < 1.5  # the test itself looks every 0.1 s
        assert host.status(run_id) == "FAILED"

    def test_a_signal_without_a_name_is_reported_too(self, host):
        run_id, pid = host.launch(seconds=60)
        os.kill(pid, signal.SIGRTMIN + 6)
        assert host.report(run_id, 5) == f"killed by signal {signal.SIGRTMIN + 6} {TOKEN}"

    def test_a_run_that_ended_well_is_not_reported(self, host):
        run_id, _ = host.launch()
        assert host.ended(run_id) == "SUCCESS"
        other, pid = host.launch(seconds=60)
        os.kill(pid, signal.SIGKILL)
        host.report(other)
        assert [path.name for path in host.reports.iterdir()] == [other]

    def test_a_run_is_asked_to_end(self, host):
        run_id, _ = host.launch(seconds=60)
        terminate(host, run_id, 30)
        assert host.report(run_id) == f"killed by SIGTERM {TOKEN}"

    def test_a_run_that_does_not_listen_is_killed_after_the_grace(self, host):
        run_id, _ = host.launch(blocks=True)
        time.sleep(0.3)
        started = time.monotonic()
        terminate(host, run_id, 1)
        assert host.report(run_id) == f"killed by SIGKILL {TOKEN}"
        assert time.monotonic() - started > 0.9

    def test_terminating_what_is_not_there_is_refused(self, host):
        with pytest.raises(HostRefused, match="no process here"):
            terminate(host, "nobody", 1)

    @linux
    def test_nothing_stays_of_a_killed_run(self, host):
        before = descriptors_of(host.running.pid)
        run_id, pid = host.launch(seconds=60, litter=True)
        wait_for(lambda: list(host.work.glob("run_*/left.txt")))
        os.kill(pid, signal.SIGKILL)
        host.report(run_id)
        wait_for(lambda: not list(host.work.iterdir()), 10)
        wait_for(lambda: descriptors_of(host.running.pid) <= before, 10)
        assert threads_of(host.running.pid) == 1


class TestDrain:
    def test_starts_nothing_new_and_ends_with_its_last_child(self, host, home):
        run_id, pid = host.launch(seconds=3)
        host.running.signal(signal.SIGTERM)
        wait_for(lambda: host.running.info()["is_draining"])
        with pytest.raises(HostRefused) as refused:
            host.launch()
        assert refused.value.why == "draining"
        sockets = host.running.socket.parent
        with worker_host(sockets, environment(home), name="second", module=LIGHT) as second:
            assert [one.name for one in client.hosts_in(sockets)] == ["second", "test"]
            other, _ = LightHost(second, home).launch()
            assert LightHost(second, home).ended(other) == "SUCCESS"
            assert is_alive(pid)
            assert host.running.wait_until_gone() == 0
        assert not host.running.socket.exists()
        assert not (host.reports / run_id).exists()

    def test_does_not_wait_for_its_upkeep(self, home):
        slow = f"{LIGHT}_with_slow_upkeep"
        with worker_host(home / "sockets", environment(home), module=slow) as running:
            upkeep = psutil.Process(running.pid).children()
            assert len(upkeep) == 1
            running.signal(signal.SIGTERM)
            assert running.wait_until_gone(10) == 0
        _, alive = psutil.wait_procs(upkeep, timeout=5)
        assert not alive

    def test_an_interrupt_ends_the_children_and_reports_them(self, host):
        run_id, pid = host.launch(seconds=60)
        host.running.signal(signal.SIGINT)
        assert host.running.wait_until_gone() == 0
        assert not is_alive(pid)
        assert host.report(run_id) == f"killed by SIGTERM {TOKEN}"

    @linux
    def test_children_die_with_a_killed_host(self, host):
        _, pid = host.launch(seconds=60)
        host.running.signal(signal.SIGKILL)
        host.running.wait_until_gone()
        wait_for(lambda: not is_alive(pid), 5)


class TestClients:
    def test_one_that_says_nothing_blocks_nobody(self, host):
        silent = [socket.socket(socket.AF_UNIX) for _ in range(50)]
        try:
            for number, one in enumerate(silent):
                one.connect(str(host.running.socket))
                one.sendall(b'{"op": "in'[: number % 10])
            run_id, _ = host.launch()
            assert host.ended(run_id, 5) == "SUCCESS"
        finally:
            for one in silent:
                one.close()

    def test_one_that_never_reads_blocks_nobody(self, host):
        deaf = socket.socket(socket.AF_UNIX)
        deaf.setblocking(False)
        deaf.connect(str(host.running.socket))
        try:
            for _ in range(20_000):
                deaf.send(b'{"op":"info"}\n')
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        run_id, _ = host.launch()
        assert host.ended(run_id, 5) == "SUCCESS"
        deaf.close()

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"{}",
            b"null",
            b'{"op":"launch","run_id":"../x","org":"acme","org_id":7}',
            b'{"op":"launch","run_id":"r","org":"acme","org_id":"7"}',
            b'{"op":"launch","run_id":"r","org":"acme","org_id":7,"uid":0}',
            b'{"op":"launch","run_id":"r","org":"acme","org_id":7}',
            b'{"op":"job","kind":"upload","deadline_seconds":-1,"org_id":7}',
            b'{"op":"status","run_id":"' + b"r" * 200 + b'"}',
        ],
    )
    def test_what_is_no_request_is_refused_and_the_next_one_answered(self, host, line):
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(str(host.running.socket))
            connected.settimeout(5)
            answers = connected.makefile("rb")
            connected.sendall(line + b"\n")
            assert json.loads(answers.readline())["code"] == "invalid"
            connected.sendall(b'{"op":"info"}\n')
            assert json.loads(answers.readline())["ok"]
        assert host.children() == []

    def test_a_line_that_never_ends_ends_the_connection(self, host):
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(str(host.running.socket))
            connected.settimeout(5)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012
                for _ in range(100):
                    connected.sendall(b"x" * 65536)
        assert host.running.info()["ok"]

    def test_a_stopped_host_is_unreachable_within_the_timeout(self, host):
        host.running.signal(signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(HostUnreachable), host.running.connect(0.5) as connection:
            connection.request(Status(run_id="r"))
        assert time.monotonic() - started < 3
        assert client.hosts_in(host.running.socket.parent, 0.3) == []

    def test_the_socket_is_its_owners_alone(self, host):
        assert host.running.socket.stat().st_mode & 0o777 == 0o600

    @pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
    def test_another_user_gets_no_answer(self, host, home):
        # As if somebody had opened the directory and the socket to everybody.
        for path in (home, host.running.socket.parent):
            path.chmod(0o777)
        host.running.socket.chmod(0o666)
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                os.setresuid(12345, 12345, 12345)
                with host.running.connect() as connection:
                    connection.request(Info())
                code = 1
            except HostUnreachable:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
