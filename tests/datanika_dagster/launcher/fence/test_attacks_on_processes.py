"""A job sees, signals and traces no process but its own, and leaves none behind."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from datanika_dagster.launcher.fence import (
    Principal,
    Surroundings,
    namespaces,
    system_call_filter,
)
from datanika_dagster.launcher.host import children
from tests.datanika_dagster.launcher.fence.children import told
from tests.datanika_dagster.launcher.fence.test_attacks_on_files import outcome

PTRACE_ATTACH = 16
SIGKILL = signal.SIGKILL


def errno_of_ptrace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.ptrace(PTRACE_ATTACH, pid, None, None)
    return "attached" if done == 0 else os.strerror(ctypes.get_errno())


def attack_on(pid):
    return [
        outcome(Path(f"/proc/{pid}/environ").read_bytes),
        outcome(lambda: Path(f"/proc/{pid}/mem").open("rb").read(1)),
        outcome(lambda: Path(f"/proc/{pid}/root/etc").iterdir().__next__()),
        errno_of_ptrace(pid),
        outcome(lambda: os.kill(pid, SIGKILL)),
    ]


@pytest.fixture
def neighbour():
    """A process of the stack's own user with a secret in its environment."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"SECRET": "of the platform"}
    )
    yield process
    process.kill()
    process.communicate()


def test_the_platforms_processes_are_not_there_for_a_job(machine, neighbour):
    said = machine.job(lambda: [attack_on(pid) for pid in (os.getppid() or 999999, 999999)]).said
    said += [machine.job(lambda: attack_on(neighbour.pid)).said]
    for seen in said:
        assert seen[:3] == ["FileNotFoundError"] * 3
        assert seen[3:] == ["Operation not permitted", "ProcessLookupError"]
    assert neighbour.poll() is None


def test_nor_can_a_run_read_or_signal_them(rooted, neighbour):
    host = os.getpid()
    said = rooted.run(lambda: [attack_on(neighbour.pid), attack_on(host)]).said
    for seen in said:
        assert set(seen[:3]) <= {"FileNotFoundError", "PermissionError"}
        assert seen[3:] == ["Operation not permitted", "PermissionError"]
    assert neighbour.poll() is None


def test_a_job_sees_its_own_processes_only(machine):
    def attack():
        with subprocess.Popen(["/usr/bin/sleep", "60"]) as child:
            seen = sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal())
            child.kill()
        return [seen, os.getpid(), child.pid]

    seen, own, child = machine.job(attack).said
    assert [own, child] == [1, 2]
    assert set(seen) <= {1, 2}


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: users of orgs need root")
class TestUsers:
    def test_runs_and_jobs_of_each_org_are_others(self, rooted):
        def ids():
            return [os.getresuid(), os.getresgid(), os.getgroups()]

        runs = [rooted.run(ids, org_id=org).said for org in (1, 2)]
        jobs = [rooted.job(ids, org_id=org).said for org in (1, 2)]
        assert runs == [[[1000002] * 3, [1000002] * 3, []], [[1000004] * 3, [1000004] * 3, []]]
        assert jobs == [[[1000003] * 3, [1000002] * 3, []], [[1000005] * 3, [1000004] * 3, []]]

    def test_nobody_becomes_root_again(self, rooted):
        said = rooted.job(lambda: [outcome(lambda: os.setuid(0)), outcome(lambda: os.setgid(0))])
        assert said.said == ["PermissionError"] * 2


class TestNetwork:
    def test_without_network_nothing_answers(self, machine):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]

            def attack():
                places = (("127.0.0.1", port), ("169.254.169.254", 80))
                return [outcome(lambda p=p: socket.create_connection(p, 2)) for p in places]

            assert machine.job(attack, has_network=False).said == ["OSError", "OSError"]

    def test_with_network_the_machines_own_is_there(self, machine):
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            said = machine.job(lambda: socket.create_connection(address, 2).getpeername()[1]).said
            assert said == address[1]


class TestEnds:
    def test_the_exit_code_is_the_jobs(self, machine):
        assert machine.job(lambda: os._exit(75)).exit_code == 75

    def test_a_signal_is_the_jobs(self, machine):
        def die():
            # The first process of a namespace ignores what it does not handle, but a fault.
            ctypes.string_at(0)

        assert machine.job(die).exit_code == -signal.SIGSEGV

    def test_what_a_job_has_started_ends_with_it(self, machine):
        def leave_something():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.execv("/usr/bin/sleep", ["left-behind", "4711"])
                os._exit(0)
            os.wait()

        machine.job(leave_something)
        assert not left_behind()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_the_host_can_interrupt_and_kill(self, machine, number):
        def signal_a_job():
            reading, writing = os.pipe()
            pid = sleeping_job(machine, lambda: os.write(writing, b"x"))
            os.read(reading, 1)
            os.killpg(pid, number)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        expected = 130 if number == signal.SIGINT else -signal.SIGKILL
        assert machine.on_host(signal_a_job) == expected

    def test_a_job_dies_with_whoever_started_it(self, machine):
        def start_a_job_and_die():
            execute = partial(os.execv, "/usr/bin/sleep", ["left-behind", "4711"])
            sleeping_job(machine, execute)
            return becomes_true(left_behind)

        assert machine.on_host(lambda: told(start_a_job_and_die).said)
        assert becomes_true(lambda: not left_behind())

    def test_also_one_that_would_rather_not_know(self, machine):
        def start_a_job_and_die():
            sleeping_job(machine, unlearn_and_leave_something)
            return becomes_true(left_behind)

        assert machine.on_host(lambda: told(start_a_job_and_die).said)
        assert becomes_true(lambda: not left_behind())

    def test_what_would_rather_not_know_is_killed_first(self, machine, monkeypatch):
        # As on a processor for which there is no filter of system calls.
        monkeypatch.setattr(system_call_filter, "install", lambda: False)

        def kill_a_job():
            pid = sleeping_job(machine, unlearn_and_leave_something)
            assert becomes_true(left_behind)
            children._signal(pid, SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        assert machine.on_host(kill_a_job) == -SIGKILL
        assert becomes_true(lambda: not left_behind())

    def test_the_host_goes_on_in_its_own_namespace(self, rooted):
        before = Path("/proc/self/ns/pid_for_children").readlink()
        rooted.job(lambda: None)
        assert Path("/proc/self/ns/pid_for_children").readlink() == before
        assert not namespaces.is_first_process()


def unlearn_and_leave_something():
    """Stays when its parent ends, where it may, and so does what it has started."""
    libc = ctypes.CDLL(None)
    libc.prctl(*[ctypes.c_ulong(value) for value in (1, 0, 0, 0, 0)])
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            libc.prctl(*[ctypes.c_ulong(value) for value in (1, 0, 0, 0, 0)])
            os.execv("/usr/bin/sleep", ["left-behind", "4711"])
        os._exit(0)


def left_behind():
    """Tells whether a process that calls itself so is alive."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cmdline").read_bytes().startswith(b"left-behind\0"):
                    return True
            except OSError:
                continue
    return False


def sleeping_job(machine, begin):
    """Starts a job that sleeps after its beginning, and ends with 130 when it is interrupted."""
    principal, around = Principal(1, "job"), Surroundings(machine.work_dir())
    around.work_dir.mkdir()
    machine.fence.prepare(principal, around)
    pid = machine.fence.fork(principal)
    if pid != 0:
        return pid
    exit_code = 99
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        machine.fence.enter(principal, around)
        begin()
        time.sleep(60)
    except KeyboardInterrupt:
        exit_code = 130
    finally:
        os._exit(exit_code)


def becomes_true(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
