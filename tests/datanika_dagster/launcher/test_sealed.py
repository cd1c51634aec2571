"""What waits while the platform is sealed: the queue, runs that have started, and schedules."""

import logging
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterRunStatus
from dagster._scheduler.scheduler import launch_scheduled_runs

from datanika_dagster.automation.schedules import schedule_definitions
from datanika_dagster.launcher import seal_knowledge
from datanika_dagster.launcher.run_queue import SealedRunQueue
from datanika_dagster.launcher.seal_knowledge import Seal, SealKnowledge, ask_control_plane
from datanika_manifest.automation import Schedule
from datanika_manifest.run_records import WAITS_FOR_UNLOCK as WAITS
from tests.datanika_dagster.launcher.conftest import FLIGHTS
from tests.datanika_dagster.support.graphql import terminate
from tests.datanika_dagster.support.manifests import manifest
from tests.datanika_dagster.support.waiting import wait_for

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _ask_each_time(monkeypatch):
    monkeypatch.setattr(seal_knowledge, "LOOK_SECONDS", 0.0)


@contextmanager
def queue():
    """The daemon's queue, with what it logs."""
    with SealedRunQueue(interval_seconds=1) as daemon:
        daemon._logger = logging.getLogger("datanika_dagster.tests.queue")
        yield daemon


def look(daemon, stack, times=1):
    for _ in range(times):
        list(daemon.run_iteration(stack.context))


def reasons(stack, run_id):
    records = stack.instance.get_records_for_run(run_id, of_type=DagsterEventType.ENGINE_EVENT)
    messages = [record.event_log_entry.dagster_event.message for record in records.records]
    return [message for message in messages if message == WAITS]


def enqueued(stack, run_id):
    events = stack.instance.get_records_for_run(run_id, of_type=DagsterEventType.PIPELINE_ENQUEUED)
    return len(events.records)


class TestQueue:
    def test_a_run_waits_says_so_once_and_goes_on(self, stack, caplog):
        caplog.set_level(logging.INFO)
        stack.control_plane.is_sealed = True
        run_id = stack.queue(FLIGHTS)
        with queue() as daemon:
            look(daemon, stack, times=3)
            assert stack.run(run_id).status is DagsterRunStatus.QUEUED
            assert reasons(stack, run_id) == [WAITS]
            assert not stack.control_plane.authorized
            stack.control_plane.is_sealed = False
            look(daemon, stack)
            run = stack.finished(run_id)
        assert run.status is DagsterRunStatus.SUCCESS, stack.log(run_id)
        assert enqueued(stack, run_id) == 1, "no attempt was used up"
        said = [record.getMessage() for record in caplog.records if "sealed" in record.message]
        assert said == [
            "The platform is sealed: queued runs wait.",
            "The platform is unsealed: queued runs start.",
        ]

    def test_a_restarted_daemon_does_not_say_it_again(self, stack):
        stack.control_plane.is_sealed = True
        run_id = stack.queue(FLIGHTS)
        for _ in range(2):
            with queue() as daemon:
                look(daemon, stack)
        assert reasons(stack, run_id) == [WAITS]
        terminate(stack.context, run_id)

    def test_a_run_that_is_cancelled_while_it_waits_never_starts(self, stack):
        stack.control_plane.is_sealed = True
        run_id = stack.queue(FLIGHTS)
        with queue() as daemon:
            look(daemon, stack)
            assert terminate(stack.context, run_id) == "TerminateRunSuccess"
            stack.control_plane.is_sealed = False
            look(daemon, stack)
        assert stack.run(run_id).status is DagsterRunStatus.CANCELED
        assert not stack.control_plane.authorized

    def test_the_last_knowledge_stays_while_nobody_answers(self, stack, monkeypatch, caplog):
        stack.control_plane.is_sealed = True
        run_id = stack.queue(FLIGHTS)
        with queue() as daemon:
            look(daemon, stack)
            monkeypatch.setenv("DATANIKA_CONTROL_PLANE_URL", NOBODY)
            look(daemon, stack, times=2)
            assert stack.run(run_id).status is DagsterRunStatus.QUEUED
        assert enqueued(stack, run_id) == 1
        said = [record.getMessage() for record in caplog.records if "Nobody says" in record.message]
        assert len(said) == 1, "a queue that stands still says so, once"
        assert "did not answer" in said[0]
        terminate(stack.context, run_id)

    def test_nothing_starts_before_anything_is_known(self, stack, monkeypatch):
        run_id = stack.queue(FLIGHTS)
        monkeypatch.setenv("DATANIKA_CONTROL_PLANE_URL", NOBODY)
        with queue() as daemon:
            look(daemon, stack, times=2)
        assert stack.run(run_id).status is DagsterRunStatus.QUEUED
        assert enqueued(stack, run_id) == 1
        assert reasons(stack, run_id) == []
        terminate(stack.context, run_id)


class TestKnowledge:
    def test_an_answer_is_kept_for_a_second(self, monkeypatch):
        monkeypatch.undo()
        asked = []
        knowledge = SealKnowledge(lambda: bool(asked.append(1)))
        assert [knowledge.look() for _ in range(3)] == [Seal.UNSEALED] * 3
        assert asked == [1]

    def test_a_slow_answer_counts(self, stack):
        stack.control_plane.is_sealed = True
        knowledge = SealKnowledge(ask_control_plane)
        assert knowledge.look() is Seal.SEALED
        stack.control_plane.is_sealed = False
        stack.control_plane.seal_seconds = 3
        assert knowledge.look() is Seal.UNSEALED, "or runs wait for as long as the machine is busy"

    def test_who_may_not_ask_goes_on_as_ever(self, stack):
        stack.control_plane.refuses_seal = True
        assert SealKnowledge(ask_control_plane).look() is Seal.UNSEALED


class TestStartedRun:
    def test_waits_with_the_reason_and_goes_on(self, stack):
        stack.control_plane.is_sealed = True
        run_id = stack.launch(FLIGHTS)
        wait_for(lambda: "Waiting: The platform is sealed." in stack.log(run_id))
        assert stack.run(run_id).status is DagsterRunStatus.STARTED
        time.sleep(2.5)
        assert stack.log(run_id).count("Waiting: ") == 1
        stack.control_plane.is_sealed = False
        run = stack.finished(run_id)
        assert run.status is DagsterRunStatus.SUCCESS, stack.log(run_id)
        assert stack.control_plane.redeemed == {f"dtk_{run_id}"}

    def test_can_be_cancelled_while_it_waits(self, stack):
        stack.control_plane.is_sealed = True
        run_id = stack.launch(FLIGHTS)
        wait_for(lambda: "Waiting: " in stack.log(run_id))
        assert terminate(stack.context, run_id) == "TerminateRunSuccess"
        assert stack.finished(run_id, 20).status is DagsterRunStatus.CANCELED
        assert not stack.control_plane.redeemed

    def test_one_that_is_not_authorized_goes_back_into_the_queue(self, stack):
        stack.control_plane.refusal = (423, "The platform is sealed.")
        run_id = stack.launch(FLIGHTS)
        assert stack.run(run_id).status is DagsterRunStatus.QUEUED
        stack.control_plane.refusal = None
        stack.start(run_id)
        assert stack.finished(run_id).status is DagsterRunStatus.SUCCESS

    def test_one_that_is_cancelled_meanwhile_does_not_come_back(self, stack):
        stack.control_plane.refusal = (423, "The platform is sealed.")
        run_id = stack.queue(FLIGHTS)
        stack.instance.report_run_canceling(stack.run(run_id))
        stack.start(run_id)
        assert stack.run(run_id).status is DagsterRunStatus.CANCELED
        assert enqueued(stack, run_id) == 1


def every_minute(schedule_id=3, org="acme"):
    """A manifest whose one schedule ticks each minute."""
    schedule = Schedule(
        id=schedule_id,
        name="n",
        cron="* * * * *",
        timezone="UTC",
        is_active=True,
        asset_keys=(FLIGHTS,),
    )
    return manifest().model_copy(update={"schedules": (schedule,), "org": org})


class TestScheduler:
    """Dagster's scheduler and the queue, minute by minute but without waiting for the minutes."""

    @pytest.fixture
    def published(self):
        return every_minute(schedule_id=33)

    @pytest.fixture
    def runs_after(self, stack):
        """Lets the scheduler look at a minute; returns the schedule's runs, the newest first."""
        started_at, seen = datetime.now(UTC).replace(second=30), {}
        logger = logging.getLogger("datanika_dagster.tests.scheduler")

        def look_at(minute):
            now = started_at + timedelta(minutes=minute)
            errors = [one for one in launch_scheduled_runs(stack.context, logger, now, seen) if one]
            assert not errors
            of_schedule = dg.RunsFilter(tags={"dagster/schedule_name": "schedule_33"})
            return [run.run_id for run in stack.instance.get_runs(of_schedule)]

        return look_at

    def test_a_night_behind_a_seal_is_one_run_that_goes_on(self, stack, runs_after):
        stack.control_plane.is_sealed = True
        assert runs_after(0) == [], "where it is first seen nothing is due yet"
        with queue() as daemon:
            (run_id,) = runs_after(1)
            look(daemon, stack, times=2)
            assert stack.run(run_id).status is DagsterRunStatus.QUEUED
            assert reasons(stack, run_id) == [WAITS]
            for minute in (2, 3):
                assert runs_after(minute) == [run_id]
                look(daemon, stack)
            assert not stack.control_plane.authorized
            stack.control_plane.is_sealed = False
            look(daemon, stack)
        assert stack.finished(run_id).status is DagsterRunStatus.SUCCESS, stack.log(run_id)
        newest, *others = runs_after(4)
        assert others == [run_id]
        terminate(stack.context, newest)


class TestTick:
    @pytest.fixture
    def waiting_run(self, stack):
        """A run that waits, as schedule 3 of acme has queued it."""
        run_id = stack.queue(FLIGHTS)
        stack.instance.add_run_tags(run_id, {"dagster/schedule_name": "schedule_3"})
        yield run_id
        terminate(stack.context, run_id)

    def tick(self, stack, schedule_id=3, org="acme"):
        (schedule,) = schedule_definitions(every_minute(schedule_id, org))
        context = dg.build_schedule_context(
            instance=stack.instance, scheduled_execution_time=datetime.now(UTC)
        )
        return schedule.evaluate_tick(context)

    def test_queues_nothing_beside_its_run_that_waits(self, stack, waiting_run):
        answer = self.tick(stack)
        assert answer.run_requests == []
        assert waiting_run in answer.skip_message
        terminate(stack.context, waiting_run)
        assert len(self.tick(stack).run_requests) == 1

    def test_other_schedules_and_orgs_do_not_count(self, stack, waiting_run):
        assert len(self.tick(stack, schedule_id=33).run_requests) == 1
        assert len(self.tick(stack, org="globex").run_requests) == 1
