"""What uses too much is ended for a reason, and neither the host nor a neighbour notices."""

import errno
import os
import re
import resource
import signal
import time
from pathlib import Path

import pytest

from datanika_dagster.launcher.fence import (
    LIMITS,
    Level,
    Limits,
    Principal,
    Surroundings,
    limits,
    watch,
)
from datanika_dagster.launcher.fence.watch import Watched
from tests.datanika_dagster.launcher.fence.children import Machine
from tests.datanika_dagster.launcher.fence.conftest import give_all, machine_at

MIB = 1 << 20


class Bomb:
    """A job that goes off in a process of its own, and the watch on it."""

    def __init__(self, machine, given, body):
        principal = Principal(1, "job")
        around = Surroundings(machine.work_dir(), limits=given)
        around.work_dir.mkdir(exist_ok=True)
        machine.fence.prepare(principal, around)
        reading, writing = os.pipe()
        self.pid = machine.fence.fork(principal)
        if self.pid == 0:
            try:
                os.setsid()
                machine.fence.enter(principal, around)
                os.write(writing, b"x")
                body()
                time.sleep(60)
            finally:
                os._exit(1)
        os.read(reading, 1)
        inherited = watch.private_bytes(os.getpid())
        self.watched = Watched(self.pid, around.work_dir, given, inherited)

    def excess(self, *, patience_seconds=20.0, **how):
        """Looks until there is too much of something."""
        found = []
        deadline = time.monotonic() + patience_seconds
        while not found and time.monotonic() < deadline:
            found += watch.excesses([self.watched], **how).values()
            time.sleep(0.05)
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return found[0] if found else None


@pytest.fixture(params=list(Level))
def any_machine(request, home) -> Machine:
    """A machine of each level, also of that without a fence."""
    if request.param is not Level.NONE:
        return machine_at(request.param, home)
    give_all(home)
    return Machine(Level.NONE, home)


def excess_on(machine, given, body, **how):
    return machine.on_host(lambda: Bomb(machine, given, body).excess(**how))


def test_memory_of_a_whole_tree_is_counted(any_machine):
    def body():
        for _ in range(4):
            if os.fork() == 0:
                kept = bytearray(os.urandom(MIB) * 40)
                time.sleep(60)
                del kept

    # Less than they have together, more than any of them has.
    given = Limits(memory_bytes=140 * MIB)
    assert excess_on(any_machine, given, body) == "memory"


def test_what_is_inherited_is_not_the_childs_alone(any_machine):
    given = Limits(memory_bytes=int(watch.private_bytes(os.getpid()) * 0.8))
    assert excess_on(any_machine, given, lambda: None, patience_seconds=0.5) is None


def test_a_fork_bomb_is_seen(any_machine):
    def body():
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
            except BlockingIOError:
                time.sleep(0.05)

    assert excess_on(any_machine, Limits(processes=10), body) == "processes"


def test_the_kernel_stops_a_fork_bomb_of_an_org(rooted):
    def body():
        started = 0
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(60)
                started += 1
            except BlockingIOError:
                return started

    said = rooted.job(body, org_id=3, limits=Limits(processes=10)).said
    assert said == limits.CHILDREN_OF_A_USER * 10 - 1


def test_a_full_directory_is_seen(any_machine):
    def body():
        for number in range(20):
            Path(f"file_{number}").write_bytes(os.urandom(MIB))

    assert excess_on(any_machine, Limits(disk_bytes=10 * MIB), body, with_disk=True) == "disk"


@pytest.mark.parametrize("holds", ["by a descriptor", "by a child's"])
def test_files_without_a_name_are_counted(rooted, holds):
    def body():
        with Path("file").open("wb") as file:
            Path("file").unlink()
            file.write(os.urandom(4 * MIB))
            file.flush()
            if holds == "by a child's" and os.fork():
                os.close(file.fileno())
            time.sleep(60)

    given = Limits(disk_bytes=2 * MIB)
    assert excess_on(rooted, given, body, with_disk=True, patience_seconds=10) == "disk"


def test_one_file_is_counted_once(rooted):
    def body():
        with Path("file").open("wb") as file:
            Path("file").unlink()
            file.write(os.urandom(MIB))
            file.flush()
            for _ in range(10):
                os.dup(file.fileno())
            os.fork()
            time.sleep(60)

    given = Limits(disk_bytes=5 * MIB)
    assert excess_on(rooted, given, body, with_disk=True, patience_seconds=0.5) is None


def test_what_a_job_writes_into_its_log_is_its_runs(rooted, home):
    logs = home / "logs_of_a_run"
    logs.mkdir()
    logs.joinpath("step.err").write_bytes(os.urandom(2 * MIB))
    watched = Watched(os.getpid(), rooted.work_dir(), Limits(disk_bytes=MIB), also=(logs,))
    assert watch.excesses([watched], with_disk=True) == {os.getpid(): "disk"}


@pytest.mark.parametrize("name", [b"\xff\xfe\x80", b"x kB", b"9 kB", b") R 1 1"])
def test_a_process_names_itself_as_it_likes(any_machine, name):
    how = {"with_disk": True, "patience_seconds": 0.3}
    body = lambda: Path("/proc/self/comm").write_bytes(name)  # noqa: E731
    assert excess_on(any_machine, LIMITS["job"], body, **how) is None


def test_directories_within_directories_are_counted_however_deep(any_machine):
    def body():
        for _ in range(1500):
            os.mkdir("d")  # noqa: PTH102 - a path would be too long
            os.chdir("d")
        Path("file").write_bytes(os.urandom(2 * MIB))

    assert excess_on(any_machine, Limits(disk_bytes=MIB), body, with_disk=True) == "disk"


def test_a_job_within_its_limits_is_left_alone(any_machine):
    how = {"with_disk": True, "patience_seconds": 0.3}
    assert excess_on(any_machine, LIMITS["job"], lambda: None, **how) is None


class TestTheKernelsLimits:
    def test_one_file_ends_at_its_limit(self, machine):
        def body():
            try:
                Path("large").write_bytes(bytes(2 * MIB))
            except OSError as error:
                return error.errno

        assert machine.job(body, limits=Limits(file_bytes=MIB)).said == errno.EFBIG

    def test_memory_is_refused_far_above_the_limit(self, machine, monkeypatch):
        monkeypatch.setattr(limits, "ADDRESS_SLACK_BYTES", 512 * MIB)
        answer = machine.job(lambda: len(bytearray(1024 * MIB)), limits=Limits(memory_bytes=MIB))
        assert answer.error == "MemoryError"

    def test_an_endless_expression_is_killed(self, machine):
        def body():
            re.match(r"(a+)+$", "a" * 60 + "b")

        answer = machine.job(body, limits=Limits(cpu_seconds=1))
        assert answer.exit_code in (-signal.SIGKILL, -signal.SIGXCPU)

    def test_they_are_all_set_and_cannot_be_raised(self, machine):
        def body():
            names = ("DATA", "CPU", "NPROC", "NOFILE", "FSIZE", "CORE")
            numbers = [getattr(resource, f"RLIMIT_{name}") for name in names]
            raised = []
            for number in numbers:
                try:
                    resource.setrlimit(number, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                    raised.append(number)
                except (ValueError, OSError):
                    continue
            return [raised, [resource.getrlimit(number) for number in numbers]]

        given = LIMITS["job"]
        raised, found = machine.job(body, limits=given).said
        assert raised == []
        expected = [
            given.memory_bytes + limits.ADDRESS_SLACK_BYTES,
            given.cpu_seconds,
            given.processes * limits.CHILDREN_OF_A_USER,
            given.open_files,
            given.file_bytes,
            0,
        ]
        assert found == [[value, value] for value in expected]
