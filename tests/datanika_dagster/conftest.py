"""Fixtures of the execution plane: a Dagster home on PostgreSQL, and short socket paths."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datanika_dagster.support.instances import DagsterHome, create_home


@pytest.fixture(scope="session")
def shared_dagster_home(postgres_cluster, tmp_path_factory) -> DagsterHome:
    return create_home(tmp_path_factory.mktemp("stack"), postgres_cluster)


@pytest.fixture
def dagster_home(shared_dagster_home, monkeypatch) -> DagsterHome:
    """The shared home, with the environment of a process that uses it."""
    for name, value in shared_dagster_home.environment.items():
        monkeypatch.setenv(name, value)
    return shared_dagster_home


@pytest.fixture
def instance(dagster_home):
    with dagster_home.instance() as instance:
        yield instance


@pytest.fixture
def socket_directory() -> Iterator[Path]:
    # A Unix socket's path must stay short, and pytest's are long.
    directory = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
