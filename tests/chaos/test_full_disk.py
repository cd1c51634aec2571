"""A disk runs full: what fails names the disk, nothing is corrupt, and all goes on once there is space."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import findings
from tests.chaos.site import Site
from tests.chaos.stacks import own_home, running_stack
from tests.end_to_end.conftest import wait_until

HOME_MEGABYTES = 1200
WORK_MEGABYTES = 2
NO_SPACE = "No space left on device"
CHUNK = b"\0" * 65536


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int, mode: str) -> Iterator[None]:
    options = f"size={megabytes}m,mode={mode}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextlib.contextmanager
def filled(path: Path) -> Iterator[None]:
    filler = path / "filler"
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(CHUNK):
                pass
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0"):
                pass
        yield
    finally:
        filler.unlink()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small disk is a tmpfs, which root alone can mount, on Linux")
    with (
        own_home() as home,
        small_disk(home, HOME_MEGABYTES, "0755"),
        running_stack(home) as stack,
    ):
        yield Site(stack)


def log_of(site: Site, run_id: str) -> str:
    lines = site.tenants[0].org.get(f"runs/{run_id}/logs")["data"]
    return "\n".join(line["message"] for line in lines)


def goes_on(site: Site) -> None:
    wait_until(site.is_up, bool, 60)
    wait_until(site.unfinished, lambda left: not left, 120)
    assert site.load_everything() == []
    wait_until(lambda: findings.once_all_has_ended(site), lambda wrong: not wrong, 30)


def test_no_space_for_working_directories(site: Site):
    """Nothing starts, the run's log says why, and it starts as soon as there is space."""
    tenant = site.tenants[0]
    with small_disk(site.home.work_dir, WORK_MEGABYTES, "0700"):
        with filled(site.home.work_dir):
            run_id = tenant.org.post("runs", expected=202, targets=tenant.everything)["id"]
            wait_until(lambda: log_of(site, run_id), lambda log: NO_SPACE in log, 60)
            assert tenant.org.get(f"runs/{run_id}")["status"] != "success"
        assert tenant.org.wait_for_run(run_id)["status"] == "success"
        goes_on(site)


def test_no_space_for_anything(site: Site):
    tenant = site.tenants[0]
    with filled(site.home.path):
        answer = tenant.org.api.post("runs", json={"targets": tenant.everything})
        assert (answer.status_code, "disk is full" in answer.text) == (503, True), answer.text
    goes_on(site)
