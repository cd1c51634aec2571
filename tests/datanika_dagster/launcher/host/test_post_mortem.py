"""Whose end a host reports: that of the process which had claimed the run, or of one that nobody had."""

import secrets

import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus

from datanika_dagster.launcher.host import post_mortem
from tests.datanika_dagster.launcher.host.test_sealed_memory import ORDER
from tests.datanika_dagster.test_storage import run_of


@pytest.fixture
def pool():
    return f"acme__upload__{secrets.token_hex(4)}"


@pytest.fixture
def run_id(instance, pool):
    """A run that is starting and holds a slot."""
    run_id = instance.run_storage.add_run(run_of("org_acme")).run_id
    starting = DagsterEvent(DagsterEventType.RUN_STARTING.value, "__ASSET_JOB")
    instance.run_storage.handle_run_event(run_id, starting)
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(pool)
    assert storage.claim_concurrency_slot(pool, run_id, "load").is_claimed
    yield run_id
    storage.free_concurrency_slots_for_run(run_id)


@pytest.mark.parametrize(
    ("claimant", "then", "held"),
    [
        ("the living one", DagsterRunStatus.STARTING, 1),
        ("the dead one", DagsterRunStatus.FAILURE, 0),
        (None, DagsterRunStatus.FAILURE, 0),
    ],
)
def test_a_run_of_another_process_goes_on(instance, run_id, pool, claimant, then, held):
    if claimant:
        assert instance.run_storage.claim(run_id, claimant)
    told = ORDER.model_copy(update={"run_id": run_id, "claimant": "the dead one"})
    post_mortem.report_end(instance, told, "killed by SIGKILL")
    assert instance.get_run_by_id(run_id).status is then
    info = instance.event_log_storage.get_concurrency_info(pool)
    assert info.active_slot_count == held
