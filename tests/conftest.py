"""Fixtures of every suite: one real PostgreSQL cluster for each pytest-xdist worker."""

import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanika_stack.postgres import EmbeddedPostgres


def free_port() -> int:
    """Returns a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
