"""A run whose process died is done again, once and at once; what a person or the data ended is not."""

import logging
import os
import signal
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import yaml
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus, EventLogEntry
from dagster._core.execution.plan.objects import StepSuccessData
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget, WorkspaceFileTarget
from dagster._daemon.auto_run_reexecution.event_log_consumer import (
    DAGSTER_EVENT_TYPES,
    _persist_cursors,
)
from dagster._daemon.daemon import MonitoringDaemon
from sqlalchemy import text

from datanika_dagster.launcher import run_retries, worker
from datanika_dagster.launcher.run_queue import SealedRunQueue
from datanika_dagster.launcher.run_retries import PromptRunRetries
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import MANIFEST_TAG
from tests.datanika_dagster.launcher.conftest import FLIGHTS, PLANES
from tests.datanika_dagster.support.code_servers import code_server
from tests.datanika_dagster.support.graphql import terminate
from tests.datanika_dagster.support.manifests import manifest
from tests.datanika_dagster.support.waiting import wait_for

NEVER_SECONDS = 3600
# Dagster's own, where there is no cursor yet.
pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")


@contextmanager
def running(stack, *daemons):
    """Daemons in threads, as dagster-daemon runs them."""
    stop = threading.Event()

    def loop(daemon):
        daemon._logger = logging.getLogger("datanika_dagster.tests.daemon")
        with daemon:
            daemon.run_daemon_loop(stack.context, "tests", stop, 1, 1)

    threads = [threading.Thread(target=loop, args=[daemon]) for daemon in daemons]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def daemons(stack):
    retries = PromptRunRetries(interval_seconds=NEVER_SECONDS)
    # Its first look starts where the log ends.
    list(retries.run_iteration(stack.context))
    queue = SealedRunQueue(interval_seconds=1)
    with running(stack, queue, retries, MonitoringDaemon(interval_seconds=2)):
        yield


def retries_of(stack, run_id):
    return stack.instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run_id}))


def holding(stack):
    """Keeps the run's load from ending, so that it can be killed in the middle."""
    connection = stack.source.connect()
    connection.autocommit = False
    connection.execute("LOCK TABLE flights IN ACCESS EXCLUSIVE MODE")
    return connection


def terminated_waiting(stack):
    """Ends the sessions of the source that wait for the lock; returns how many there were."""
    return stack.source.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )


@pytest.mark.usefixtures("daemons")
class TestKilledWorker:
    def test_the_run_fails_and_is_done_again_with_the_current_manifest(self, stack):
        with holding(stack):
            run_id = stack.queue(FLIGHTS)
            wait_for(lambda: "Started execution of step" in stack.log(run_id), 60)
            of_run = worker.from_tag(stack.run(run_id).tags[WORKER_TAG])
            os.kill(of_run.pid, signal.SIGKILL)
            killed = time.monotonic()
            assert stack.finished(run_id, 10).status is DagsterRunStatus.FAILURE
            failed_seconds = time.monotonic() - killed
            (retry,) = wait_for(lambda: retries_of(stack, run_id), 20)
            begun = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED)
            wait_for(lambda: stack.run(retry.run_id).status in begun, 20)
            assert failed_seconds <= 5, failed_seconds
            assert time.monotonic() - killed <= 10
        assert stack.finished(retry.run_id).status is DagsterRunStatus.SUCCESS
        assert stack.warehouse.value("SELECT count(*) FROM raw.flights") == 3
        assert len(retries_of(stack, run_id)) == 1
        assert stack.run(retry.run_id).tags[MANIFEST_TAG] == stack.control_plane.current["acme"]

    def test_a_retry_that_is_killed_is_not_done_again(self, stack):
        with holding(stack):
            run_id = stack.queue(FLIGHTS)
            self.kill(stack, run_id)
            (retry,) = wait_for(lambda: retries_of(stack, run_id), 20)
            self.kill(stack, retry.run_id)
            time.sleep(2)
            assert retries_of(stack, retry.run_id) == []
            assert stack.run(retry.run_id).tags["dagster/will_retry"] == "false"

    def kill(self, stack, run_id):
        of_run = wait_for(lambda: worker.from_tag(stack.run(run_id).tags.get(WORKER_TAG)), 60)
        os.kill(of_run.pid, signal.SIGKILL)
        assert stack.finished(run_id, 20).status is DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("daemons")
class TestLostDatabase:
    def test_a_job_that_lost_its_database_is_done_again(self, stack):
        with holding(stack):
            run_id = stack.queue(FLIGHTS)
            wait_for(lambda: terminated_waiting(stack), 60)
            run = stack.finished(run_id, 30)
            assert run.status is DagsterRunStatus.FAILURE
            (retry,) = wait_for(lambda: retries_of(stack, run_id), 20)
        assert stack.finished(retry.run_id).status is DagsterRunStatus.SUCCESS
        assert stack.warehouse.value("SELECT count(*) FROM raw.flights") == 3


class TestOverlooked:
    """The daemon is told of a failure once, and that may come to nothing."""

    @pytest.fixture
    def failed(self, stack):
        run_id = stack.queue(FLIGHTS)
        stack.instance.report_run_failed(stack.run(run_id), "Its process died.")
        yield run_id
        for retry in retries_of(stack, run_id):
            terminate(stack.context, retry.run_id)

    @pytest.fixture
    def behind_the_cursor(self, stack, failed):
        newest = stack.instance.event_log_storage.get_maximum_record_id()
        _persist_cursors(stack.instance, dict.fromkeys(DAGSTER_EVENT_TYPES, newest))
        return failed

    def test_a_failure_behind_the_cursor_is_retried_once(self, stack, behind_the_cursor):
        retries = PromptRunRetries(interval_seconds=NEVER_SECONDS)
        list(retries.run_iteration(stack.context))
        (retry,) = retries_of(stack, behind_the_cursor)
        assert retry.status is DagsterRunStatus.QUEUED
        for again in (retries, PromptRunRetries(interval_seconds=NEVER_SECONDS)):
            again._next_look = 0.0
            list(again.run_iteration(stack.context))
        assert len(retries_of(stack, behind_the_cursor)) == 1

    def failed_before(self, stack, run_id, **ago):
        with stack.instance.run_storage.connect() as connection:
            connection.execute(
                text("UPDATE runs SET update_timestamp = :at WHERE run_id = :id"),
                {"at": datetime.now(UTC).replace(tzinfo=None) - timedelta(**ago), "id": run_id},
            )

    def test_a_daemon_that_was_down_for_hours_retries_what_waited(self, stack, behind_the_cursor):
        self.failed_before(stack, behind_the_cursor, hours=20)
        list(PromptRunRetries(interval_seconds=NEVER_SECONDS).run_iteration(stack.context))
        assert len(retries_of(stack, behind_the_cursor)) == 1

    def test_a_retry_that_nobody_could_start_for_a_day_is_given_up(self, stack, behind_the_cursor):
        self.failed_before(stack, behind_the_cursor, hours=25)
        list(PromptRunRetries(interval_seconds=NEVER_SECONDS).run_iteration(stack.context))
        assert retries_of(stack, behind_the_cursor) == []
        assert stack.run(behind_the_cursor).tags["dagster/will_retry"] == "false"
        assert "not retried any more" in stack.log(behind_the_cursor)

    def test_a_run_that_came_to_no_retry_waits_for_none(
        self, stack, behind_the_cursor, monkeypatch
    ):
        # As where its job is gone: Dagster then starts nothing, and says nothing.
        monkeypatch.setattr(run_retries, "retry_run", lambda *_: None)
        list(PromptRunRetries(interval_seconds=NEVER_SECONDS).run_iteration(stack.context))
        assert stack.run(behind_the_cursor).tags["dagster/will_retry"] == "false"

    def test_a_retry_is_planned_from_what_is_published_then(
        self, stack, failed, socket_directory, dagster_home
    ):
        newer = stack.control_plane.publish(manifest(tables=("flights",)))
        assert newer != stack.sha256
        path = socket_directory / "newer.sock"
        target = GrpcServerTarget(
            host="localhost", port=None, socket=str(path), location_name="org_acme"
        )
        url = {"DATANIKA_CONTROL_PLANE_URL": stack.control_plane.url}
        retries = PromptRunRetries(interval_seconds=NEVER_SECONDS)
        with (
            code_server("acme", newer, path, dagster_home.environment | url),
            WorkspaceProcessContext(stack.instance, target) as context,
        ):
            list(retries.run_iteration(context))
            (retry,) = retries_of(stack, failed)
            stack.instance.launch_run(retry.run_id, context.create_request_context())
            ended = stack.finished(retry.run_id)
        assert ended.status is DagsterRunStatus.SUCCESS, stack.log(retry.run_id)
        assert ended.tags[MANIFEST_TAG] == newer
        (asked,) = stack.control_plane.authorized
        assert asked["manifest_sha256"] == newer

    def test_a_run_that_was_killed_after_its_last_step_is_retried_whole(self, stack):
        run_id = stack.queue(FLIGHTS)
        run = stack.run(run_id)
        step = "upload__load_airline"
        for kind, told in (("START", None), ("SUCCESS", StepSuccessData(duration_ms=1.0))):
            event = DagsterEvent(
                DagsterEventType[f"STEP_{kind}"].value,
                run.job_name,
                step_key=step,
                event_specific_data=told,
            )
            entry = EventLogEntry(None, 10, "", run_id, time.time(), step, dagster_event=event)
            stack.instance.event_log_storage.store_event(entry)
        stack.instance.report_run_failed(run, "Its process died.")
        retries = PromptRunRetries(interval_seconds=NEVER_SECONDS)
        for _ in range(3):
            retries._next_look = 0.0
            list(retries.run_iteration(stack.context))
        (retry,) = retries_of(stack, run_id)
        assert retry.asset_selection == run.asset_selection
        terminate(stack.context, retry.run_id)

    @pytest.mark.filterwarnings("ignore:Error loading repository location")
    def test_a_code_server_that_is_gone_for_a_while_costs_no_retry(
        self, stack, failed, socket_directory
    ):
        socket = socket_directory / "not_yet.sock"
        workspace = socket_directory / "workspace.yaml"
        server = {"grpc_server": {"socket": str(socket), "location_name": "org_acme"}}
        workspace.write_text(yaml.safe_dump({"load_from": [server]}))
        retries = PromptRunRetries(interval_seconds=NEVER_SECONDS)
        target = WorkspaceFileTarget([str(workspace)])
        with WorkspaceProcessContext(stack.instance, target) as context:
            list(retries.run_iteration(context))
            assert retries_of(stack, failed) == []
            assert stack.run(failed).tags["dagster/will_retry"] == "true"
            socket.symlink_to("acme.sock")
            wait_for(lambda: context.create_request_context().code_locations, 15)
            retries._next_look = 0.0
            list(retries.run_iteration(context))
        assert len(retries_of(stack, failed)) == 1


@pytest.mark.usefixtures("daemons")
class TestNotDoneAgain:
    def test_what_was_cancelled_refused_or_wrong(self, stack):
        with holding(stack):
            cancelled = stack.queue(FLIGHTS)
            wait_for(lambda: stack.run(cancelled).status is DagsterRunStatus.STARTED, 60)
            assert terminate(stack.context, cancelled) == "TerminateRunSuccess"
            assert stack.finished(cancelled, 30).status is DagsterRunStatus.CANCELED
        stack.control_plane.refusal = (403, "No.")
        refused = stack.queue(FLIGHTS)
        assert stack.finished(refused, 30).status is DagsterRunStatus.FAILURE
        stack.control_plane.refusal = None
        stack.source.execute("ALTER TABLE planes RENAME TO aircraft")
        try:
            wrong = stack.queue(PLANES)
            assert stack.finished(wrong, 60).status is DagsterRunStatus.FAILURE
        finally:
            stack.source.execute("ALTER TABLE aircraft RENAME TO planes")
        time.sleep(2)
        for run_id in (cancelled, refused, wrong):
            assert retries_of(stack, run_id) == [], stack.log(run_id)
