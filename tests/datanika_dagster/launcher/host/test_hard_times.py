"""A host that the system refuses something: processes or descriptors. It waits, and loses nothing."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from datanika_dagster.launcher import processes
from datanika_dagster.launcher.host.client import HostRefused
from tests.datanika_dagster.launcher.host.conftest import LightHost, environment
from tests.datanika_dagster.launcher.host.light_host_of_a_user import USER
from tests.datanika_dagster.launcher.host.test_host import is_alive
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.support.worker_hosts import descriptors_of, worker_host

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="changes limits of another user's process"
)
OF_A_USER = "tests.datanika_dagster.launcher.host.light_host_of_a_user"


@contextlib.contextmanager
def no_processes_left(host: LightHost):
    host.running.signal(signal.SIGUSR1)
    host.running.info()
    yield
    host.running.signal(signal.SIGUSR2)
    host.running.info()


@pytest.fixture
def others_host(home):
    for path in (home, home / "reports", home / "dagster", home / "sockets"):
        path.mkdir(exist_ok=True, mode=0o700)
        shutil.chown(path, USER)
    with worker_host(home / "sockets", environment(home), module=OF_A_USER) as running:
        yield LightHost(running, home)


def test_a_launch_without_a_process_leaves_nothing(others_host):
    before = descriptors_of(others_host.running.pid)
    with no_processes_left(others_host):
        for _ in range(3):
            with pytest.raises(HostRefused, match="No further process") as refused:
                others_host.launch()
            assert refused.value.why == "full"
        assert list(others_host.work.iterdir()) == []
        wait_for(lambda: descriptors_of(others_host.running.pid) <= before)
    run_id, _ = others_host.launch()
    assert others_host.ended(run_id) == "SUCCESS"


def test_what_could_not_be_removed_is_removed_later(others_host):
    _, pid = others_host.launch(seconds=60, litter=True)
    wait_for(lambda: list(others_host.work.glob("run_*/left.txt")))
    with no_processes_left(others_host):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(pid))
        wait_for(lambda: others_host.children() == [])
        # Neither an errand nor one that reports could be started, and that one's place is gone.
        assert len(list(others_host.work.iterdir())) == 1
    wait_for(lambda: not list(others_host.work.iterdir()), 5)


def test_without_descriptors_it_waits_and_burns_no_time(host):
    pid = host.running.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
    with contextlib.ExitStack() as connected:
        for _ in range(5):
            client = connected.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(host.running.socket))
        client.sendall(b'{"op":"info"}\n')
        time.sleep(0.3)
        before = sum(psutil.Process(pid).cpu_times()[:2])
        time.sleep(1.5)
        assert sum(psutil.Process(pid).cpu_times()[:2]) - before < 0.3
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        client.settimeout(5)
        assert client.recv(1) == b"{", "who waited is served"


def test_a_process_takes_the_files_that_it_may_open():
    code = (
        "import resource, sys; from datanika_dagster.launcher import processes;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2000));"
        "processes.allow_open_files(4096); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    read, write = os.pipe()
    child = processes.start(["-c", code], environment={"PATH": "/usr/bin:/bin"}, output=write)
    os.close(write)
    with os.fdopen(read) as output:
        assert output.read().strip() == "2000"
    child.wait()
