"""Dagster's own storages with a run's login: what they have to do in a run's process, they can."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from dagster import AssetKey, DagsterEvent, DagsterEventType, DagsterInstance, EventLogEntry
from dagster._core.events import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
    JobFailureData,
    RunFailureReason,
)
from dagster._core.storage.dagster_run import DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG

from datanika_dagster.event_log import OrgsEventLogStorage
from datanika_dagster.row_security.installation import install
from tests.datanika_dagster.row_security.conftest import ACME, GLOBEX, PROVISIONER, Secured
from tests.datanika_dagster.row_security.rows import (
    EVENT,
    Owned,
    insert,
    make_owned,
    owners_storage,
)
from tests.datanika_dagster.support.instances import TEMPLATE, DagsterHome

POOL = "acme__upload__walls"


@pytest.fixture
def own(secured: Secured) -> Owned:
    """A run that the launcher is starting."""
    own = make_owned(secured, ACME)
    with secured.as_owner() as owner:
        owner.execute("UPDATE runs SET status = 'STARTING' WHERE run_id = %s", [own.run_id])
        owner.execute("DELETE FROM concurrency_slots; DELETE FROM pending_steps")
        owner.execute("DELETE FROM concurrency_limits")
    return own


@pytest.fixture
def instance(secured: Secured, tmp_path, monkeypatch) -> Iterator[DagsterInstance]:
    """What a run of acme's opens."""
    (tmp_path / "dagster.yaml").write_text(TEMPLATE.read_text())
    home = DagsterHome(tmp_path, secured.run_url(ACME))
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    with home.instance() as instance:
        assert isinstance(instance.event_log_storage, OrgsEventLogStorage)
        yield instance


def entry(run_id: str, kind: DagsterEventType, data: object = None) -> EventLogEntry:
    event = DagsterEvent(kind.value, "__ASSET_JOB", event_specific_data=data)  # pyright: ignore[reportArgumentType]
    return EventLogEntry(
        None, "info", "", run_id, time.time(), job_name="__ASSET_JOB", dagster_event=event
    )


def test_a_failed_run_says_why_and_that_it_is_done_again(instance, secured, own: Owned):
    instance.handle_new_event(entry(own.run_id, DagsterEventType.RUN_START))
    reason = JobFailureData(None, RunFailureReason.RUN_EXCEPTION)
    instance.handle_new_event(entry(own.run_id, DagsterEventType.RUN_FAILURE, reason))
    (record,) = owners_storage(secured.owner).get_run_records(RunsFilter(run_ids=[own.run_id]))
    assert record.dagster_run.status is DagsterRunStatus.FAILURE
    assert record.dagster_run.tags["dagster/failure_reason"] == "RUN_EXCEPTION"
    assert record.dagster_run.tags["dagster/will_retry"] == "true"
    assert record.start_time
    assert record.end_time


def test_a_run_whose_job_may_succeed_later_is_done_again(instance, secured, own: Owned):
    instance.handle_new_event(entry(own.run_id, DagsterEventType.RUN_START))
    instance.add_run_tags(own.run_id, {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"})
    reason = JobFailureData(None, RunFailureReason.STEP_FAILURE)
    instance.handle_new_event(entry(own.run_id, DagsterEventType.RUN_FAILURE, reason))
    storage = owners_storage(secured.owner)
    tagged = RunsFilter(run_ids=[own.run_id], tags={RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"})
    (run,) = storage.get_runs(tagged)
    assert run.tags[RETRY_ON_ASSET_OR_OP_FAILURE_TAG] == "true"
    assert run.tags["dagster/will_retry"] == "true"


def test_a_claim_of_an_earlier_version_is_anothers(instance, secured, own: Owned):
    claimed = make_owned(secured, ACME)
    with secured.as_owner() as owner:
        owner.execute("ALTER TABLE datanika.run_claims DROP COLUMN claimant")
        insert(owner, "datanika.run_claims", {"run_id": claimed.run_id})
        install(owner, PROVISIONER)
    storage = instance.run_storage
    assert storage.is_claimed_by_another(claimed.run_id, "this process")
    assert storage.claim(own.run_id, "this process")
    assert not storage.is_claimed_by_another(own.run_id, "this process")
    # As the queue does when it has not heard of the launch.
    owners_storage(secured.owner).handle_run_event(
        own.run_id, DagsterEvent(DagsterEventType.RUN_ENQUEUED.value, "__ASSET_JOB")
    )
    instance.handle_new_event(entry(own.run_id, DagsterEventType.RUN_START))
    assert instance.get_run_by_id(own.run_id).status is DagsterRunStatus.STARTED


def test_a_check_is_planned_and_evaluated(instance, secured, own: Owned):
    key = AssetKey(["acme", "warehouse", "raw", "flights"])
    planned = AssetCheckEvaluationPlanned(asset_key=key, check_name="own")
    instance.handle_new_event(
        entry(own.run_id, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned)
    )
    done = AssetCheckEvaluation(asset_key=key, check_name="own", passed=True, metadata={})
    instance.handle_new_event(entry(own.run_id, DagsterEventType.ASSET_CHECK_EVALUATION, done))
    with secured.as_owner() as owner:
        found = owner.execute(
            "SELECT execution_status FROM asset_check_executions WHERE run_id = %s", [own.run_id]
        ).fetchall()
    assert found == [("SUCCEEDED",)]


class TestSlots:
    def test_are_claimed_freed_and_handed_on(self, instance, secured, own: Owned):
        storage, successor = instance.event_log_storage, make_owned(secured, ACME)
        storage.initialize_concurrency_limit_to_default(POOL)
        claims = [
            storage.claim_concurrency_slot(POOL, owned.run_id, "load").is_claimed
            for owned in (own, successor)
        ]
        assert claims == [True, False]
        storage.free_concurrency_slot_for_step(own.run_id, "another")
        assert not storage.claim_concurrency_slot(POOL, successor.run_id, "load").is_claimed
        storage.free_concurrency_slot_for_step(own.run_id, "load")
        assert storage.claim_concurrency_slot(POOL, successor.run_id, "load").is_claimed
        storage.free_concurrency_slots_for_run(successor.run_id)
        assert rows_of(secured) == [(None, None, False)]

    def test_a_pool_that_has_become_smaller_shrinks(self, instance, secured, own: Owned):
        with secured.as_owner() as owner:
            for run_id in (None, own.run_id, None):
                row = {"concurrency_key": POOL, "run_id": run_id, "deleted": False}
                insert(owner, "concurrency_slots", row)
            insert(owner, "concurrency_limits", {"concurrency_key": f"{POOL}_too", "limit": 3})
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
        assert rows_of(secured) == [(own.run_id, None, False)]

    def test_a_slot_that_is_gone_goes_with_its_step(self, instance, secured, own: Owned):
        with secured.as_owner() as owner:
            row = {"concurrency_key": POOL, "run_id": own.run_id, "deleted": True}
            insert(owner, "concurrency_slots", row)
        instance.event_log_storage.free_concurrency_slots_for_run(own.run_id)
        assert rows_of(secured) == []

    def test_another_orgs_are_left_alone(self, instance, secured, own: Owned):
        foreign, pool = make_owned(secured, GLOBEX), "globex__upload__walls"
        with secured.as_owner() as owner:
            row = {"concurrency_key": pool, "run_id": foreign.run_id, "step_key": "load"}
            insert(owner, "concurrency_slots", row | {"deleted": False})
            insert(owner, "pending_steps", row)
        instance.event_log_storage.free_concurrency_slots_for_run(foreign.run_id)
        with secured.as_run(ACME) as acme, pytest.raises(psycopg.Error, match="another org"):
            acme.execute("SELECT datanika.shrink_pool(%s, 0)", [pool])
        with secured.as_owner() as owner:
            for table in (b"concurrency_slots", b"pending_steps"):
                found = owner.execute(b"SELECT run_id, step_key FROM " + table).fetchall()
                assert found == [(foreign.run_id, "load")]


def test_what_one_org_makes_unreadable_hides_no_event_of_another(secured: Secured, own: Owned):
    """The daemon reads the ends of all orgs' runs, from where it has stopped."""
    storage = OrgsEventLogStorage(secured.owner.render_as_string(hide_password=False))
    cursor = storage.get_maximum_record_id() or 0
    kind = DagsterEventType.RUN_FAILURE
    deep = '{"__class__": "EventLogEntry", "x": ' + "[" * 3000 + "]" * 3000 + "}"
    unreadable = (EVENT, deep, '{"__class__": "EventLogEntry", "level": {"__enum__": "No.SUCH"}}')
    with secured.as_run(ACME) as acme:
        for text in unreadable:
            row = {"run_id": own.run_id, "event": text, "dagster_event_type": kind.value}
            insert(acme, "event_logs", row)
    foreign = make_owned(secured, GLOBEX)
    storage.store_event(entry(foreign.run_id, kind))
    for limit in (1, 2, 500, None):
        found = storage.get_logs_for_all_runs_by_log_id(cursor, {kind}, limit)
        assert [event.run_id for event in found.values()] == [foreign.run_id]


def test_that_an_event_cannot_be_read_is_said_once(secured: Secured, own: Owned, caplog):
    """The daemon's cursor stays where it is while nothing else follows."""
    storage = OrgsEventLogStorage(secured.owner.render_as_string(hide_password=False))
    cursor = storage.get_maximum_record_id() or 0
    kind = DagsterEventType.RUN_FAILURE

    def said_after(rows: int) -> int:
        for _ in range(rows):
            with secured.as_run(ACME) as acme:
                text = '{"__class__": "EventLogEntry", "level": {"__enum__": "No.SUCH"}}'
                row = {"run_id": own.run_id, "event": text, "dagster_event_type": kind.value}
                insert(acme, "event_logs", row)
        caplog.clear()
        for limit in (1, 500):
            assert not storage.get_logs_for_all_runs_by_log_id(cursor, {kind}, limit)
        return [record.name for record in caplog.records].count("datanika_dagster.event_log")

    assert [said_after(rows) for rows in (3, 0, 2, 0)] == [3, 0, 2, 0]


def rows_of(secured: Secured) -> list[tuple[object, ...]]:
    with secured.as_owner() as owner:
        return owner.execute(
            "SELECT run_id, step_key, deleted FROM concurrency_slots WHERE concurrency_key = %s"
            " ORDER BY id",
            [POOL],
        ).fetchall()
