"""Fixtures of every suite: one real PostgreSQL cluster for each pytest-xdist worker."""

import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datanika_stack.postgres import EmbeddedPostgres
from tests.fixtures.control_plane import (
    anonymous,
    app,
    app_engine,
    cheap_passwords,
    client,
    databases,
    live_api,
    make_settings,
    member,
    outer_connection,
    real_passwords,
    session,
    vault,
)
from tests.fixtures.ports import free_port
from tests.fixtures.worker_host import own_host, projects_dir, task_host, worker_sockets
from tests.scheduling import WHOLE_STACKS, StackScheduling

# Named here, once: a fixture that two conftest files import is two fixtures, each with passwords
# of its own for the same roles.
__all__ = [
    "anonymous",
    "app",
    "app_engine",
    "cheap_passwords",
    "client",
    "databases",
    "live_api",
    "make_settings",
    "member",
    "outer_connection",
    "own_host",
    "projects_dir",
    "real_passwords",
    "session",
    "task_host",
    "vault",
    "worker_sockets",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what `make test-long` and `make fuzz` ask for."""
    parser.addoption("--race-seconds", type=float, default=10, help="how long clients race")
    parser.addoption("--race-seed", type=int, default=None, help="repeats the clients' choices")
    parser.addoption("--soak-forks", type=int, default=200, help="launches of one worker host")
    parser.addoption(
        "--chaos", action="store_true", help="also what fills disks and turns clocks: minutes"
    )
    parser.addoption(
        "--fuzz-examples",
        type=int,
        default=None,
        help="random requests to each operation; without it a few, always the same",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what runs on a whole stack, and refuses such a test elsewhere."""
    for item in items:
        if item.nodeid.startswith("tests/end_to_end/"):
            item.add_marker(pytest.mark.stack)
        elif item.get_closest_marker("stack") and not item.nodeid.startswith(WHOLE_STACKS):
            raise pytest.UsageError(f"name the file of {item.nodeid} in tests/scheduling.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> StackScheduling:
    """Tells pytest-xdist how to spread the tests."""
    return StackScheduling(config, log)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[EmbeddedPostgres]:
    """A running cluster of this worker's own; `.url()` and `.dsn()` are its superuser's."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def source_cluster() -> Iterator[EmbeddedPostgres]:
    """Another one, for databases of tenants: no connection may lead to the platform's own."""
    with running_cluster() as cluster:
        yield cluster


@contextmanager
def running_cluster() -> Generator[EmbeddedPostgres]:
    """Runs a cluster of its own for the block."""
    # Not pytest's tmp_path: a Unix socket's path must stay short.
    directory = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
    directory.chmod(0o755)
    cluster = EmbeddedPostgres(
        directory / "data",
        free_port(),
        directory / "socket",
        secrets.token_urlsafe(16),
        durable=False,
    )
    try:
        with cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)
