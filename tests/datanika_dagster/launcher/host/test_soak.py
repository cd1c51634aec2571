"""Many launches on one host: nothing is lost, nothing grows, and no secret stays in its memory.

`--soak-forks` says how many; `make test-long` has thousands.
"""

import contextlib
import json
import os
import re
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from datanika_dagster.launcher.host import sealed_memory
from datanika_dagster.launcher.host.protocol import Launch, Status
from tests.datanika_dagster.launcher.conftest import FLIGHTS
from tests.datanika_dagster.launcher.host.conftest import TOKEN
from tests.datanika_dagster.launcher.host.test_jobs_of_host import ending, start
from tests.datanika_dagster.support.manifests import SOURCE
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.support.worker_hosts import descriptors_of, threads_of

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(3600),
]
AT_ONCE = 20
GROWTH_BYTES = 4 << 20
PASSWORD = "canary-warehouse-5517"
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r")


def private_bytes(pid):
    return psutil.Process(pid).memory_full_info().uss


def launch_all(host, count, **order):
    """Launches runs, a few at a time over one connection, and returns how each has ended."""
    order = json.dumps(order | {"reports": str(host.reports), "token": TOKEN}).encode()
    ended, waiting = [], []
    with host.running.connect() as connection:

        def collect(limit):
            while len(waiting) > limit:
                said = connection.request(Status(run_id=waiting[0]))["status"]
                if said == "RUNNING":
                    time.sleep(0.005)
                else:
                    ended.append(said)
                    waiting.pop(0)

        for _ in range(count):
            fd = sealed_memory.sealed(order)
            run_id = str(uuid.uuid4())
            connection.request(Launch(run_id=run_id, org="acme", org_id=7), [fd])
            os.close(fd)
            waiting.append(run_id)
            collect(AT_ONCE)
        collect(0)
    return ended


def memory_holds(pid, *canaries):
    """Returns which of some texts a process has anywhere in its memory."""
    found = set()
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            mapping = MAPPING.match(line)
            if mapping is None or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            begin, end = (int(part, 16) for part in mapping.groups())
            with contextlib.suppress(OSError, ValueError):
                memory.seek(begin)
                content = memory.read(end - begin)
                found |= {canary for canary in canaries if canary.encode() in content}
    return found


def test_nothing_grows_and_no_run_is_lost(host, request):
    forks = request.config.getoption("--soak-forks")
    pid = host.running.pid
    assert launch_all(host, 2 * AT_ONCE) == ["SUCCESS"] * 2 * AT_ONCE
    wait_for(lambda: not list(host.work.iterdir()))
    before = descriptors_of(pid), private_bytes(pid)
    assert launch_all(host, forks) == ["SUCCESS"] * forks
    assert host.children() == []
    wait_for(lambda: descriptors_of(pid) <= before[0])
    assert threads_of(pid) == 1
    assert private_bytes(pid) - before[1] < GROWTH_BYTES
    assert list(host.work.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="hidden processes show their memory to root only")
def test_a_hosts_memory_holds_no_secret_after_a_hundred_launches(host):
    pid = host.running.pid
    assert launch_all(host, 95) == ["SUCCESS"] * 95
    assert launch_all(host, 5, exit=1) == ["FAILED"] * 5  # whose ends are reported with the order
    with host.running.connect() as connection:
        for _ in range(5):
            job, _ = start(connection, secrets={"password": PASSWORD})
            ending(connection, job)
    wait_for(lambda: host.children() == [])
    assert memory_holds(pid, TOKEN, PASSWORD) == set()
    assert memory_holds(pid, "dbt_projects") == {"dbt_projects"}  # it can find what is there


@pytest.mark.skipif(os.geteuid() != 0, reason="hidden processes show their memory to root only")
def test_a_preloaded_hosts_memory_holds_no_secret_after_real_runs(stack, dagster_home):
    """What the light host has not: Dagster, the engines, and children that use them."""
    pid = stack.host.pid
    for _ in range(3):
        run_id = stack.launch(FLIGHTS)
        run = stack.finished(run_id)
        assert run.is_success, stack.log(run_id)
    secret = stack.source.secret
    config = {**secret["config"], "password": PASSWORD, "database": "none"}
    stack.control_plane.connections[SOURCE] = {**secret, "config": config}
    failed = stack.finished(stack.launch(FLIGHTS))
    assert not failed.is_success
    wait_for(lambda: stack.host.info()["children"] == [])
    secrets = (
        *(f"dtk_{one.run_id}" for one in (run, failed)),
        stack.warehouse.secret["config"]["password"],
        dagster_home.storage_url,
        PASSWORD,
    )
    assert memory_holds(pid, *secrets) == set()
    assert memory_holds(pid, "datanika_dagster.uploads") != set()  # it can find what is there
