"""A home with secrets and two orgs' work, on a machine that can fence in."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from datanika_dagster.launcher import work_directories
from datanika_dagster.launcher.fence import Level, probe
from tests.datanika_dagster.launcher.fence.children import ORDINARY, Machine, as_ordinary

SECRET = "another org's password"


@pytest.fixture
def home() -> Iterator[Path]:
    with made_home() as directory:
        yield directory


@contextmanager
def made_home() -> Iterator[Path]:
    """Makes a home with another org's work in it."""
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
    work_directories.remove(directory)


def machine_at(level: Level, home: Path) -> Machine:
    """Returns a machine of that level; skips, and says so, where this one has not got it."""
    if sys.platform != "linux":
        pytest.skip("NOT TESTED: the fence is Linux's")
    if level is Level.USERS and os.geteuid() != 0:
        pytest.skip("NOT TESTED: users of orgs need root")
    found, reason = found_level(level)
    if found != level:
        pytest.skip(f"NOT TESTED: this machine has no fence of level {level}: {reason}")
    if level is Level.NAMESPACES:
        give_all(home)
    return Machine(level, home)


@cache
def found_level(level: Level) -> tuple[str, str]:
    """Returns what a host finds that could have that level, and why it is not more."""
    with made_home() as home:
        machine = Machine(level, home)
        if level is Level.USERS:
            return level_and_reason(machine)
        give_all(home)
        return tuple(as_ordinary(home, lambda: level_and_reason(machine)))


def level_and_reason(machine: Machine) -> tuple[str, str]:
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
