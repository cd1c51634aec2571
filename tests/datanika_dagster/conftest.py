"""Fixtures of the execution plane: a Dagster home on PostgreSQL, and short socket paths."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, RunsFilter
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import WILL_RETRY_TAG

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
        _end_what_is_left(instance)


def _end_what_is_left(instance: DagsterInstance) -> None:
    """Runs left unfinished, or to be retried, would take the places of the next test's."""
    unfinished = instance.get_runs(RunsFilter(statuses=NOT_FINISHED_STATUSES))
    retried = instance.get_runs(RunsFilter(tags={WILL_RETRY_TAG: "true"}))
    for run_id in {run.run_id for run in (*unfinished, *retried)}:
        instance.delete_run(run_id)
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


@pytest.fixture
def socket_directory() -> Iterator[Path]:
    # A Unix socket's path must stay short, and pytest's are long.
    directory = Path(tempfile.mkdtemp(prefix="dtk", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
