"""A home with secrets and two orgs' work, on a machine that can fence in."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanika_dagster.launcher.fence import Level, probe
from tests.datanika_dagster.launcher.fence.children import ORDINARY, Machine, as_ordinary

SECRET = "another org's password"


@pytest.fixture
def home() -> Iterator[Path]:
    # Not pytest's: nobody but root passes those.
    directory = Path(tempfile.mkdtemp(prefix="dnf", dir="/tmp"))
    directory.chmod(0o711)
    for name in ("work", "tmp", "work/job_of_two", "warehouse_of_two"):
        (directory / name).mkdir()
    (directory / "secrets.env").write_text(SECRET)
    (directory / "secrets.env").chmod(0o600)
    (directory / "work" / "job_of_two" / "order").write_text(SECRET)
    (directory / "warehouse_of_two" / "data.duckdb").write_text(SECRET)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def machine_at(level: Level, home: Path) -> Machine:
    """Returns a machine of that level; skips, and says so, where this one has not got it."""
    if sys.platform != "linux":
        pytest.skip("NOT TESTED: the fence is Linux's")
    if level is Level.USERS and os.geteuid() != 0:
        pytest.skip("NOT TESTED: users of orgs need root")
    machine = Machine(level, home)
    if level is Level.NAMESPACES:
        give_all(home)
    found = (
        [probe(machine.config).level, ""]
        if level is Level.USERS
        else as_ordinary(home, lambda: list(_level_and_reason(machine)))
    )
    if found[0] != level:
        pytest.skip(f"NOT TESTED: this machine has no fence of level {level}: {found[1]}")
    return machine


def _level_and_reason(machine: Machine) -> tuple[str, str]:
    fence = probe(machine.config)
    return fence.level, fence.reason


def give_all(home: Path) -> None:
    if os.geteuid() != 0:
        return
    for path in (home, *home.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY)


@pytest.fixture(params=[Level.USERS, Level.NAMESPACES])
def machine(request, home) -> Machine:
    """A machine at each level that fences jobs in."""
    return machine_at(request.param, home)


@pytest.fixture
def rooted(home) -> Machine:
    """A machine whose host is root."""
    return machine_at(Level.USERS, home)
