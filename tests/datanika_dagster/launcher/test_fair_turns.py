"""Orgs take turns in the queue, and each keeps to its own places, order and priorities."""

import logging
from collections import Counter

import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster_shared.record import copy
from sqlalchemy import text

from datanika_dagster import quotas
from datanika_dagster.launcher.run_queue import SealedRunQueue
from datanika_manifest.quotas import Quota, Quotas
from tests.datanika_dagster.test_storage import run_of


@pytest.fixture
def queue(instance):
    """The daemon's queue, and what it does with a run that has a place."""
    with SealedRunQueue(interval_seconds=1) as daemon:
        daemon._logger = logging.getLogger("datanika_dagster.tests.queue")
        # These runs have no process, and nobody looks for one.
        daemon._next_recovery = float("inf")
        yield Queue(instance, daemon)
    with instance.run_storage.connect() as connection:
        connection.execute(text("DELETE FROM datanika.quotas"))


class Queue:
    def __init__(self, instance, daemon):
        self.instance, self.daemon = instance, daemon

    def put(self, org, **tags):
        run = self.instance.run_storage.add_run(run_of(f"org_{org}", tags=tags))
        self.report(run, DagsterEventType.RUN_ENQUEUED)
        return run.run_id

    def report(self, run, kind):
        self.instance.report_dagster_event(DagsterEvent(kind.value, run.job_name), run.run_id)

    def look(self, places=10):
        """Returns the runs that would start now, and lets them start."""
        config = self.instance.get_concurrency_config()
        queue = config.run_queue_config._replace(max_concurrent_runs=places)
        config = copy(config, run_queue_config=queue)
        runs = self.daemon._get_runs_to_dequeue(self.instance, config, None)
        for run in runs:
            self.report(run, DagsterEventType.RUN_STARTING)
        return runs

    def end(self, run):
        self.report(run, DagsterEventType.RUN_SUCCESS)

    def keep(self, **parallel_runs):
        orgs = {org: Quota(parallel_runs=number) for org, number in parallel_runs.items()}
        quotas.keep(self.instance.run_storage, Quotas(orgs=orgs))


def org_of(run):
    return run.tags["datanika/org"]


class TestTurns:
    def test_a_long_queue_of_one_org_holds_up_no_other(self, queue):
        for _ in range(20):
            queue.put("long")
        for org in ("b", "c", "d"):
            queue.put(org)
        assert [org_of(run) for run in queue.look(places=4)] == ["long", "b", "c", "d"]

    def test_ten_orgs_get_the_same_within_a_tenth(self, queue):
        orgs = [f"org_{number}" for number in range(10)]
        for org in orgs:
            for _ in range(10):
                queue.put(org)
        order = queue.look(places=4)
        running = list(order)
        while running:
            queue.end(running.pop(0))
            started = queue.look(places=4)
            order += started
            running += started
        assert len(order) == 100
        for end in range(10, 101, 10):
            counts = Counter(org_of(run) for run in order[:end])
            assert [counts[org] for org in orgs] == [end // 10] * 10, end

    def test_long_runs_of_one_org_cost_the_others_no_turn(self, queue):
        for org in ("slow", "quick"):
            for _ in range(8):
                queue.put(org)
        running = queue.look(places=2)
        order = []
        for _ in range(5):
            (quick,) = (run for run in running if org_of(run) == "quick")
            queue.end(quick)
            (started,) = queue.look(places=2)
            order.append(org_of(started))
            running = [run for run in running if run is not quick] + [started]
        assert order == ["quick"] * 5, "the other has its place"

    def test_who_comes_back_is_served_before_who_was_there(self, queue):
        for _ in range(6):
            queue.put("there")
        first, _ = queue.look(places=2)
        queue.put("back")
        queue.end(first)
        (started,) = queue.look(places=2)
        assert org_of(started) == "back"


class TestPlaces:
    def test_an_org_has_no_more_than_its_own(self, queue):
        queue.keep(one=1, none=0)
        for org in ("one", "none", "unset"):
            for _ in range(6):
                queue.put(org)
        counts = Counter(org_of(run) for run in queue.look(places=10))
        assert counts == {"one": 1, "unset": Quota().parallel_runs}
        assert queue.look(places=10) == []

    def test_there_are_no_more_than_the_platforms(self, queue):
        for org in ("a", "ab", "a_b"):
            queue.put(org)
        assert [org_of(run) for run in queue.look(places=2)] == ["a", "ab"]
        assert queue.look(places=2) == []


class TestPriorities:
    def test_they_count_inside_an_org_alone(self, queue):
        first = queue.put("calm")
        low = queue.put("keen", **{"dagster/priority": "-5"})
        plain = queue.put("keen", **{"dagster/priority": "x"})
        high = queue.put("keen", **{"dagster/priority": "10"})
        order = [queue.look(places=number)[0].run_id for number in range(1, 5)]
        assert order == [first, high, plain, low]

    def test_a_cancelled_run_gives_its_turn_to_the_next(self, queue):
        cancelled, then = queue.put("acme"), queue.put("acme")
        run = queue.instance.get_run_by_id(cancelled)
        queue.report(run, DagsterEventType.RUN_CANCELED)
        assert [run.run_id for run in queue.look()] == [then]
        assert queue.instance.get_run_by_id(cancelled).status is DagsterRunStatus.CANCELED
