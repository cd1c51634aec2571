"""A job asks the kernel for what no job needs; and what every job needs still works."""

import ctypes
import errno
import mmap
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from datanika_dagster.launcher.fence import barrier, system_call_filter
from tests.datanika_dagster.launcher.fence.test_attacks_on_files import outcome
from tests.datanika_dagster.launcher.fence.test_bombs import any_machine

__all__ = ["any_machine"]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"),
    reason="NOT TESTED: there is no filter for this machine",
)
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
CLONE_NEWUSER = 0x10000000
AF_ALG, AF_VSOCK = 38, 40
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4


def refusal(number, *arguments):
    """Calls the kernel with what is harmless and returns the name of its refusal."""
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_long(value) for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *padded)
    return errno.errorcode[ctypes.get_errno()] if done == -1 else "done"


def prctl(*arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.prctl(*[ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:5]])
    return errno.errorcode[ctypes.get_errno()] if done == -1 else "done"


def test_what_no_job_needs_is_refused(any_machine):
    numbers = {name: system_call_filter.number_of(name) for name in system_call_filter.names()}

    def attack():
        # All but reboot's first argument mean nothing at all.
        return {name: refusal(number, -1, -1) for name, number in numbers.items() if number}

    expected = dict.fromkeys((name for name, number in numbers.items() if number), "EPERM")
    expected |= {"clone3": "ENOSYS", "memfd_create": "ENOSYS"}
    assert any_machine.job(attack).said == expected


def test_no_namespace_is_made_by_another_call(any_machine):
    number = system_call_filter.number_of("clone")

    def attack():
        return refusal(number, CLONE_NEWUSER | signal.SIGCHLD)

    assert any_machine.job(attack).said == "EPERM"


def test_the_filter_is_for_all_that_a_job_starts(any_machine):
    def attack():
        given = "import os; os.memfd_create('x')"
        done = subprocess.run([sys.executable, "-c", given], capture_output=True, check=False)
        unshared = subprocess.run(["/usr/bin/unshare", "-Ur", "true"], check=False)
        return [done.returncode, unshared.returncode]

    assert any_machine.job(attack).said == [1, 1]


def test_a_job_cannot_unlearn_to_die_with_its_host(any_machine):
    def attack():
        return [
            prctl(PR_SET_PDEATHSIG, 0),
            prctl(PR_SET_PDEATHSIG, signal.SIGCHLD),
            prctl(PR_SET_DUMPABLE, 1),
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        ]

    assert any_machine.job(attack).said == ["EPERM", "EPERM", "EPERM", "done"]


def test_no_memory_is_held_where_nobody_counts_it(any_machine):
    def attack():
        return [
            outcome(lambda: os.memfd_create("x")),
            outcome(lambda: mmap.mmap(-1, 4096)),
            outcome(lambda: Path("/dev/zero").open("r+b").close()),
        ]

    said = any_machine.job(attack).said
    assert said[:2] == ["OSError", "PermissionError"]
    assert said[2] == "FileNotFoundError" or any_machine.level == "none"


def test_families_of_sockets_that_nobody_needs_are_not_there(any_machine):
    def attack():
        return [
            outcome(lambda: socket.socket(AF_ALG, socket.SOCK_SEQPACKET)),
            outcome(lambda: socket.socket(AF_VSOCK, socket.SOCK_STREAM)),
            outcome(lambda: socket.socket(socket.AF_INET6).close()),
            outcome(lambda: socket.socket(socket.AF_UNIX).close()),
        ]

    said = any_machine.job(attack).said
    assert said[:2] == ["OSError", "OSError"]
    assert not {"OSError", "PermissionError"} & set(said[2:])


def test_jobs_are_ended_before_the_stack_and_cannot_help_it(any_machine):
    def attack():
        own = Path("/proc/self/oom_score_adj")
        lowered = outcome(lambda: own.write_text("0"))
        return [own.read_text().strip(), lowered]

    score, lowered = any_machine.job(attack).said
    if any_machine.level == "none":
        return  # it shares the stack's user and view: only root's word would hold
    assert int(score) == barrier.OFFERED_FIRST["job"]
    assert lowered in ("OSError", "PermissionError")


def test_threads_processes_and_semaphores_work(any_machine):
    def attack():
        found = []
        thread = threading.Thread(target=lambda: found.append("thread"))
        thread.start()
        thread.join()
        with multiprocessing.get_context("spawn").RLock():
            found.append("semaphore")
        said = subprocess.run(["/bin/echo", "process"], capture_output=True, text=True, check=True)
        with mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
            return [*found, said.stdout.strip()]

    assert any_machine.job(attack).said == ["thread", "semaphore", "process"]


@pytest.mark.parametrize("machine_name", ["x86_64", "aarch64"])
def test_the_numbers_are_the_kernels(machine_name):
    header = HEADERS[machine_name]
    if not header.exists():
        pytest.skip(f"NOT TESTED: no {header}")
    known = dict(re.findall(r"#define __NR_?(?:3264_)?(\w+)\s+(\d+)", header.read_text()))
    column = system_call_filter._ARCHITECTURES[machine_name][0]
    for name, numbers in system_call_filter._NUMBERS.items():
        if name in known:
            assert int(known[name]) == numbers[column], name
