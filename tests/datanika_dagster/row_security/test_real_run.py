"""A whole run with its org's login: load, checks, pools, retries and events, as in production."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG

from datanika_dagster.launcher import worker
from datanika_dagster.launcher.run_retries import PromptRunRetries
from datanika_dagster.tags import WORKER_TAG
from tests.datanika_dagster.launcher.conftest import (
    FLIGHTS,
    PLANES,
    Stack,
    module_databases,
    published,
    shared_worker_host,
    stack,
    warm_host,
)
from tests.datanika_dagster.launcher.test_retries import retries_of, terminated_waiting
from tests.datanika_dagster.launcher.test_run_launcher import waiting_loads
from tests.datanika_dagster.row_security.conftest import ACME, Secured
from tests.datanika_dagster.support.graphql import terminate
from tests.datanika_dagster.support.instances import TEMPLATE, DagsterHome
from tests.datanika_dagster.support.waiting import wait_for

__all__ = ["module_databases", "published", "shared_worker_host", "stack", "warm_host"]


@pytest.fixture
def dagster_home(secured: Secured, tmp_path, monkeypatch) -> DagsterHome:
    """A home whose code server has the reader's login, and this process the owner's."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(TEMPLATE.read_text())
    owners = DagsterHome(home, secured.owner.render_as_string(hide_password=False))
    for name, value in owners.environment.items():
        monkeypatch.setenv(name, value)
    return DagsterHome(home, secured.reader_url(ACME))


@pytest.fixture
def instance(dagster_home: DagsterHome):
    with DagsterInstance.from_config(str(dagster_home.path)) as instance:
        yield instance


def test_a_run_needs_no_more_than_its_login(stack: Stack, secured: Secured, monkeypatch):
    run_id = stack.queue(FLIGHTS, PLANES)
    # What the launcher hands to the run's process; this process has its instance already.
    monkeypatch.setenv("DATANIKA_DAGSTER_STORAGE_URL", secured.run_url(ACME))
    stack.start(run_id)
    run = stack.finished(run_id)
    assert run.status is DagsterRunStatus.SUCCESS, stack.log(run_id)
    assert stack.warehouse.value("SELECT count(*) FROM raw.flights") == 3
    with secured.as_owner() as owner:
        slots = owner.execute(
            "SELECT run_id FROM concurrency_slots WHERE concurrency_key = 'acme__upload__load_airline'"
        ).fetchall()
        held = owner.execute(
            "SELECT count(*) FROM pending_steps WHERE run_id = %s", [run_id]
        ).fetchall()
    assert (slots, held) == ([(None,)], [(0,)])


def test_a_run_that_fails_says_why_and_nothing_else(stack: Stack, secured: Secured, monkeypatch):
    stack.source.execute("ALTER TABLE planes RENAME TO aircraft")
    try:
        run_id = stack.queue(PLANES)
        monkeypatch.setenv("DATANIKA_DAGSTER_STORAGE_URL", secured.run_url(ACME))
        stack.start(run_id)
        run = stack.finished(run_id)
    finally:
        stack.source.execute("ALTER TABLE aircraft RENAME TO planes")
    assert run.status is DagsterRunStatus.FAILURE
    # It tags itself, for what is retried; what it may not do would be an error of the framework.
    assert run.tags["dagster/failure_reason"] == "STEP_FAILURE"
    assert "framework error" not in stack.log(run_id)


@contextmanager
def held_run(stack: Stack, secured: Secured, monkeypatch) -> Iterator[str]:
    """Starts a run with its org's login whose load waits for a lock."""
    with stack.source.connect() as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE flights IN ACCESS EXCLUSIVE MODE")
        run_id = stack.queue(FLIGHTS)
        monkeypatch.setenv("DATANIKA_DAGSTER_STORAGE_URL", secured.run_url(ACME))
        stack.start(run_id)
        yield run_id


# Dagster's own, where there is no cursor yet.
@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")
def test_a_run_whose_job_lost_its_database_is_done_again(
    stack: Stack, secured: Secured, monkeypatch
):
    with held_run(stack, secured, monkeypatch) as run_id:
        wait_for(lambda: terminated_waiting(stack), 60)
        run = stack.finished(run_id)
    assert run.tags["dagster/failure_reason"] == "STEP_FAILURE"
    assert "InsufficientPrivilege" not in stack.log(run_id)
    wait_for(lambda: stack.run(run_id).tags.get("dagster/will_retry") == "true")
    retries = PromptRunRetries(interval_seconds=3600)
    list(retries.run_iteration(stack.context))
    (retry,) = retries_of(stack, run_id)
    assert RETRY_ON_ASSET_OR_OP_FAILURE_TAG not in retry.tags
    assert terminate(stack.context, retry.run_id) == "TerminateRunSuccess"


def test_the_end_of_a_killed_run_is_reported_with_its_login(
    stack: Stack, secured: Secured, monkeypatch
):
    with held_run(stack, secured, monkeypatch) as run_id:
        wait_for(lambda: waiting_loads(stack), 60)
        of_run = worker.from_tag(stack.run(run_id).tags[WORKER_TAG])
        assert of_run
        os.kill(of_run.pid, signal.SIGKILL)
        run = stack.finished(run_id, 20)
    assert run.status is DagsterRunStatus.FAILURE
    assert "killed by SIGKILL" in stack.log(run_id)
    wait_for(lambda: stack.run(run_id).tags.get("dagster/will_retry") == "true")
    with secured.as_owner() as owner:
        held = "SELECT count(*) FROM concurrency_slots WHERE run_id = %s"
        wait_for(lambda: owner.execute(held, [run_id]).fetchall() == [(0,)])
