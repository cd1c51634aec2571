"""Fixtures of every suite: one real PostgreSQL cluster for each pytest-xdist worker."""

import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanika_stack.ports import is_listening
from datanika_stack.postgres import EmbeddedPostgres

PORTS_OF_A_STACK = 4
WHOLE_STACK = Path(__file__).parent / "end_to_end"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives all tests that start whole stacks to one worker: two would fight for ports and cores.

    First, because pytest-xdist reads the groups in the same hook.
    """
    for item in items:
        if item.path.is_relative_to(WHOLE_STACK):
            item.add_marker(pytest.mark.stack)
        if item.get_closest_marker("stack"):
            item.add_marker(pytest.mark.xdist_group("stack"))


def free_port() -> int:
    """Returns a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_base_port() -> int:
    """Returns a port that is free with those that a stack needs after it.

    Below the range of outgoing connections, and at random: another run of the tests may look, too.
    """
    for _ in range(200):
        base = 20000 + 10 * secrets.randbelow(1000)
        if not any(is_listening(base + offset) for offset in range(PORTS_OF_A_STACK)):
            return base
    raise RuntimeError("no free ports")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[EmbeddedPostgres]:
    """A running cluster of this worker's own; `.url()` and `.dsn()` are its superuser's."""
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
