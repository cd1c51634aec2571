"""Runs go when they ended long ago, a bounded number at a time, and what they made of assets stays."""

import secrets
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, EventRecordsFilter, RunsFilter
from dagster._core.events import StepMaterializationData
from sqlalchemy import text

from datanika_dagster import run_retention
from datanika_dagster.gateway.principal import Principal, Role
from datanika_dagster.gateway.scoped import scoped_instance
from datanika_dagster.run_retention import Bounds, RunRetention, prune
from tests.datanika_dagster.test_storage import run_of

# Before everything that other tests have stored.
LONG_AGO, NOW = 1_000.0, 2_000.0


@pytest.fixture
def org():
    return f"o{secrets.token_hex(4)}"


@pytest.fixture
def storage(instance):
    return instance.run_storage


def make_runs(instance, org, count=1, *, ended_at=LONG_AGO, status="SUCCESS", events=2):
    storage, run_ids = instance.run_storage, []
    for _ in range(count):
        run = storage.add_run(run_of(f"org_{org}", tags={"mine": "x"}))
        run_ids.append(run.run_id)
        for number in range(events):
            instance.report_engine_event(f"event {number}", run)
    with storage.connect() as connection:
        connection.execute(
            text("UPDATE runs SET status = :status, end_time = :at WHERE run_id = ANY (:ids)"),
            {"status": status, "at": ended_at, "ids": run_ids},
        )
    return run_ids


def materialize(instance, run_id, key, partition=None):
    (run,) = instance.get_runs(RunsFilter(run_ids=[run_id]))
    made = StepMaterializationData(dg.AssetMaterialization(key, partition=partition))
    kind = DagsterEventType.ASSET_MATERIALIZATION.value
    event = DagsterEvent(kind, run.job_name, event_specific_data=made)
    instance.report_dagster_event(event, run_id)


def kept(instance, run_ids):
    return set(instance.run_storage.get_run_ids(RunsFilter(run_ids=run_ids)))


def rows(storage, table, run_id):
    with storage.connect() as connection:
        query = text(f"SELECT count(*) FROM {table} WHERE run_id = :run_id")
        return connection.execute(query, {"run_id": run_id}).scalar_one()


def prune_all(storage, **bounds):
    return [*prune(storage, NOW, Bounds(**bounds))][-1]


def test_what_ended_long_ago_goes_and_nothing_else(instance, storage, org):
    (old,) = make_runs(instance, org)
    (young,) = make_runs(instance, org, ended_at=NOW + 1)
    (endless,) = make_runs(instance, org, status="STARTED")
    prune_all(storage)
    assert kept(instance, [old, young, endless]) == {young, endless}
    for table in ("event_logs", "run_tags", "datanika.run_owners"):
        assert rows(storage, table, old) == 0
        assert rows(storage, table, young) > 0
        assert rows(storage, table, endless) > 0


def test_what_it_made_stays_with_the_asset(instance, storage, org):
    key = dg.AssetKey([org, "warehouse", "raw", "t"])
    (old,) = make_runs(instance, org)
    materialize(instance, old, key, partition="2026-01-01")
    prune_all(storage)
    assert kept(instance, [old]) == set()
    principal = Principal(org, 1, Role.VIEWER, frozenset(), "somebody")
    for seen_by in (instance, scoped_instance(instance, principal, set)):
        assert seen_by.get_materialized_partitions(key) == {"2026-01-01"}
        assert seen_by.get_latest_materialization_event(key).run_id == old
        made = EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION, key)
        assert len(seen_by.event_log_storage.get_event_records(made)) == 1


def test_a_pass_is_bounded_and_the_next_goes_on(instance, storage, org):
    run_ids = make_runs(instance, org, 5, events=1)
    assert prune_all(storage, runs=2).runs == 2
    assert kept(instance, run_ids) == set(run_ids[2:])
    # Killed in the middle.
    next(prune(storage, NOW))
    assert kept(instance, run_ids) == set(run_ids[3:])
    prune_all(storage)
    assert kept(instance, run_ids) == set()


def test_a_run_with_many_events_takes_several_passes(instance, storage, org, monkeypatch):
    monkeypatch.setattr(run_retention, "_EVENTS_AT_ONCE", 4)
    (old,) = make_runs(instance, org, events=10)
    assert prune_all(storage, events=8).events == 8
    assert rows(storage, "event_logs", old) == 2
    assert kept(instance, [old]) == {old}
    prune_all(storage, events=8)
    assert kept(instance, [old]) == set()


def test_orgs_take_turns(instance, storage, org, monkeypatch):
    monkeypatch.setattr(run_retention, "_RUNS_AT_ONCE", 3)
    many = make_runs(instance, org, 20, events=0)
    few = make_runs(instance, f"{org}b", 3, events=0)
    prune_all(storage, runs=6)
    assert len(kept(instance, many)) == 17
    assert kept(instance, few) == set()
    prune_all(storage)
    assert kept(instance, many) == set()


class TestDaemon:
    @pytest.mark.parametrize(("days", "is_kept"), [("0", True), ("1", False)])
    def test_makes_a_pass_by_the_setting(self, instance, org, monkeypatch, days, is_kept):
        monkeypatch.setenv("DATANIKA_RUN_DAYS", days)
        (old,) = make_runs(instance, org)
        (young,) = make_runs(instance, org, ended_at=4e9)
        list(RunRetention().run_iteration(SimpleNamespace(instance=instance)))
        assert (old in kept(instance, [old])) is is_kept
        assert kept(instance, [young]) == {young}
