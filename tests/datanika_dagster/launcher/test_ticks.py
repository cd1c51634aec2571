"""A tick survives what is killed around it: no run twice, no overlap, and what was missed is one run."""

import logging
import multiprocessing
import signal
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import yaml
from dagster import DagsterEvent, DagsterEventType
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.tags import SCHEDULE_NAME_TAG, SCHEDULED_EXECUTION_TIME_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from datanika_dagster.automation.schedules import LATEST_SECONDS, schedule_definitions
from datanika_manifest.automation import Schedule
from tests.datanika_dagster.launcher.conftest import FLIGHTS
from tests.datanika_dagster.launcher.ticks import look_and_die
from tests.datanika_dagster.support.graphql import terminate
from tests.datanika_dagster.support.manifests import manifest
from tests.datanika_dagster.support.waiting import wait_for

LOGGER = logging.getLogger("datanika_dagster.tests.ticks")
# Before the run, with a run that is not queued, with one that is, and before the tick says so.
MOMENTS = ("TICK_CREATED", "RUN_CREATED", "RUN_LAUNCHED", "TICK_SUCCESS")
SECONDS_OF_AN_HOUR = 3600


def with_schedules(timezone="UTC", **cron_by_name):
    """A manifest with schedules, named by number."""
    schedules = tuple(
        Schedule(
            id=int(name.removeprefix("schedule_")),
            name="n",
            cron=cron,
            timezone=timezone,
            is_active=True,
            asset_keys=(FLIGHTS,),
        )
        for name, cron in cron_by_name.items()
    )
    return manifest().model_copy(update={"schedules": schedules})


def look(context, now):
    errors = [one for one in launch_scheduled_runs(context, LOGGER, now, {}) if one]
    assert not errors


def runs_of(instance, schedule):
    return instance.get_runs(dg.RunsFilter(tags={SCHEDULE_NAME_TAG: schedule}))


def ticks_of(stack, name):
    (location,) = stack.context.create_request_context().code_locations
    schedule = next(iter(location.get_repositories().values())).get_schedule(name)
    return stack.instance.get_ticks(schedule.get_remote_origin_id(), schedule.selector_id)


def seconds_ago(seconds):
    return datetime.now(UTC) - timedelta(seconds=seconds)


class TestEvaluation:
    @pytest.fixture
    def tick(self, instance, monkeypatch):
        monkeypatch.setenv("DATANIKA_ORG", "acme")
        (schedule,) = schedule_definitions(with_schedules(schedule_40="* * * * *"))

        def evaluate(due_at):
            context = dg.build_schedule_context(instance=instance, scheduled_execution_time=due_at)
            return schedule.evaluate_tick(context)

        return evaluate

    def test_a_little_late_is_a_run_and_later_is_a_recorded_skip(self, tick):
        assert tick(seconds_ago(LATEST_SECONDS - 20)).run_requests
        answer = tick(seconds_ago(LATEST_SECONDS + 1))
        assert answer.run_requests == []
        assert answer.skip_message.startswith("Missed: it was due at ")

    def test_no_run_beside_one_that_is_unfinished(self, tick, instance):
        run = create_run_for_test(instance, tags={SCHEDULE_NAME_TAG: "schedule_40"})
        for event in ("STARTING", "START", "CANCELING"):
            reported = DagsterEvent(DagsterEventType[f"PIPELINE_{event}"].value, run.job_name)
            instance.report_dagster_event(reported, run.run_id)
            answer = tick(seconds_ago(0))
            assert answer.run_requests == [], event
            assert run.run_id in answer.skip_message
        instance.report_run_canceled(run)
        assert len(tick(seconds_ago(0)).run_requests) == 1

    def test_its_own_run_does_not_stand_in_its_way(self, tick, instance):
        due_at = seconds_ago(LATEST_SECONDS * 2)
        of_tick = {
            SCHEDULE_NAME_TAG: "schedule_40",
            SCHEDULED_EXECUTION_TIME_TAG: due_at.isoformat(),
        }
        run = create_run_for_test(instance, tags=of_tick)
        assert len(tick(due_at).run_requests) == 1
        instance.report_run_canceled(run)


class TestKilledDaemon:
    """Each moment of a tick at which the daemon can be killed: one run, and the tick names it."""

    @pytest.fixture
    def published(self):
        return with_schedules(schedule_41="* * * * *")

    def test_no_tick_is_doubled_and_none_is_lost(self, stack, dagster_home, socket_directory):
        spawning = multiprocessing.get_context("forkserver")
        spawning.set_forkserver_preload([look_and_die.__module__])
        first = seconds_ago(0).replace(second=30)
        look(stack.context, first)
        for number, moment in enumerate(MOMENTS, start=1):
            now = first + timedelta(minutes=number)
            socket = str(socket_directory / "acme.sock")
            arguments = (dagster_home.environment, socket, now, "schedule_41", moment)
            process = spawning.Process(target=look_and_die, args=arguments)
            process.start()
            process.join(60)
            assert process.exitcode == -signal.SIGKILL, moment
            look(stack.context, now + timedelta(seconds=5))
            runs = runs_of(stack.instance, "schedule_41")
            ticks = ticks_of(stack, "schedule_41")
            assert len(runs) == len(ticks) == number, moment
            assert ticks[0].status is TickStatus.SUCCESS, moment
            assert ticks[0].run_ids == [runs[0].run_id], moment
            assert terminate(stack.context, runs[0].run_id) == "TerminateRunSuccess"


class TestRestart:
    """All was down for hours; the daemon starts before the code servers, whose names it knows."""

    @pytest.fixture
    def published(self):
        an_hour_ago = seconds_ago(SECONDS_OF_AN_HOUR)
        daily = f"{an_hour_ago:%M %H} * * *"
        return with_schedules(schedule_43="* * * * *", schedule_44=daily)

    @pytest.mark.filterwarnings("ignore:Error loading repository location")
    def test_what_was_missed_is_one_run_or_a_recorded_skip(self, stack, socket_directory):
        look(stack.context, seconds_ago(2 * SECONDS_OF_AN_HOUR))
        socket = socket_directory / "not_yet.sock"
        workspace = socket_directory / "workspace.yaml"
        server = {"grpc_server": {"socket": str(socket), "location_name": "org_acme"}}
        workspace.write_text(yaml.safe_dump({"load_from": [server]}))
        target = WorkspaceFileTarget([str(workspace)])
        with WorkspaceProcessContext(stack.instance, target) as context:
            look(context, seconds_ago(0))
            assert not context.create_request_context().code_locations
            socket.symlink_to("acme.sock")
            wait_for(lambda: context.create_request_context().code_locations, 15)
            now = seconds_ago(0)
            look(context, now)
        (run,) = runs_of(stack.instance, "schedule_43")
        due_at = datetime.fromisoformat(run.tags[SCHEDULED_EXECUTION_TIME_TAG])
        assert timedelta(0) <= now - due_at < timedelta(minutes=1), "the latest"
        (tick,) = ticks_of(stack, "schedule_43")
        assert tick.run_ids == [run.run_id]
        assert runs_of(stack.instance, "schedule_44") == []
        (skipped,) = ticks_of(stack, "schedule_44")
        assert skipped.status is TickStatus.SKIPPED
        assert "before anybody could look" in skipped.skip_reason
        terminate(stack.context, run.run_id)


class TestClockOfAPlace:
    """An hour that comes twice ticks once, and one that never comes ticks, too."""

    # To come: a time that is past for longer than five minutes is skipped.
    HOUR_TWICE = datetime(2031, 11, 2, 5, 30, tzinfo=UTC)  # 1:30 in New York; an hour later again
    HOUR_MISSING = datetime(2032, 3, 14, 7, 0, tzinfo=UTC)  # from 2:00 to 3:00 in New York

    @pytest.fixture
    def published(self):
        return with_schedules(
            "America/New_York", schedule_45="30 1 * * *", schedule_46="30 2 * * *"
        )

    def test_each_night_has_one_tick(self, stack):
        night, hour = timedelta(days=1), timedelta(hours=1)
        look(stack.context, self.HOUR_TWICE - hour)
        counts = []
        for later in (timedelta(minutes=1), hour + timedelta(minutes=1), 2 * hour):
            look(stack.context, self.HOUR_TWICE + later)
            counts.append(len(ticks_of(stack, "schedule_45")))
        assert counts == [0, 1, 1], "the second of the two"
        look(stack.context, self.HOUR_MISSING - hour)
        before = len(ticks_of(stack, "schedule_46"))
        look(stack.context, self.HOUR_MISSING + hour)
        assert len(ticks_of(stack, "schedule_46")) == before + 1
        look(stack.context, self.HOUR_MISSING + night)
        assert len(ticks_of(stack, "schedule_46")) == before + 2
        for schedule in ("schedule_45", "schedule_46"):
            for run in runs_of(stack.instance, schedule):
                terminate(stack.context, run.run_id)
