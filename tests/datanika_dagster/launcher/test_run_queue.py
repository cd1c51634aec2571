"""The queue looks when it is told to, lets no launch wait for another, and finds stranded runs."""

import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import sqlalchemy as db
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus
from dagster._core.launcher.base import WorkerStatus

from datanika_dagster.launcher import host_choice, run_queue, stranded_runs
from datanika_dagster.launcher.launches import Launches
from datanika_dagster.launcher.run_queue import SealedRunQueue
from datanika_dagster.launcher.worker import Worker, from_tag, is_alive, machine
from datanika_dagster.tags import WORKER_TAG
from tests.datanika_dagster.launcher.conftest import FLIGHTS
from tests.datanika_dagster.support.graphql import terminate
from tests.datanika_dagster.support.waiting import wait_for

NEVER_SECONDS = 3600
DEAD = Worker(machine(), 2**22 + 1, "1").as_tag()
ELSEWHERE = Worker("another container", 7, "1", "silent").as_tag()


@contextmanager
def running_queue(stack):
    """The queue in a thread, as the daemon runs it, but it never looks of itself."""
    stop = threading.Event()

    def loop():
        with SealedRunQueue(interval_seconds=NEVER_SECONDS) as daemon:
            daemon._logger = logging.getLogger("datanika_dagster.tests.queue")
            daemon.run_daemon_loop(stack.context, "tests", stop, 1, 1)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class TestTold:
    def test_runs_start_when_they_are_queued_and_when_their_place_is_free(self, stack):
        with running_queue(stack):
            wait_for(lambda: ("GET", "/internal/v1/seal", None) in stack.control_plane.requests)
            first = stack.queue(FLIGHTS)
            second = stack.queue(FLIGHTS)
            assert stack.finished(first).status is DagsterRunStatus.SUCCESS, stack.log(first)
            assert stack.finished(second).status is DagsterRunStatus.SUCCESS, stack.log(second)
        starts = [stack.instance.get_run_stats(run_id) for run_id in (first, second)]
        assert starts[1].start_time >= starts[0].end_time - 0.5, "they share a pool"
        assert stack.instance.get_daemon_heartbeats()["QUEUED_RUN_COORDINATOR"].daemon_id == "tests"


class TestStranded:
    @pytest.fixture(autouse=True)
    def _look_each_time(self, monkeypatch):
        monkeypatch.setattr(run_queue, "STRANDED_SECONDS", 0.0)

    def strand(self, stack, tags):
        run_id = stack.queue(FLIGHTS)
        starting = DagsterEvent(DagsterEventType.RUN_STARTING.value, "__ASSET_JOB")
        stack.instance.report_dagster_event(starting, run_id)
        stack.instance.add_run_tags(run_id, tags)
        return run_id

    def look(self, stack):
        with SealedRunQueue(interval_seconds=1) as daemon:
            for _ in range(2):
                list(daemon.run_iteration(stack.context))

    def test_one_that_never_got_a_process_is_queued_again(self, stack):
        run_id = self.strand(stack, {})
        self.look(stack)
        run = stack.finished(run_id)
        assert run.status is DagsterRunStatus.SUCCESS, stack.log(run_id)
        assert len(stack.control_plane.authorized) == 1

    def test_one_that_was_cancelled_is_not_queued_again(self, stack):
        run_id = self.strand(stack, {})
        run = stack.run(run_id)
        stack.instance.report_run_canceling(run)
        stranded_runs.enqueue_again(stack.instance, run_id)
        assert stack.run(run_id).status is DagsterRunStatus.CANCELED

    def test_one_that_somebody_executes_is_not_queued_again(self, stack):
        run_id = self.strand(stack, {})
        stack.instance.run_storage.claim(run_id, "a process that died")
        self.look(stack)
        assert stack.run(run_id).status is DagsterRunStatus.FAILURE
        assert not stack.control_plane.authorized

    def test_one_that_was_claimed_by_nobody_who_lives_has_failed(self, stack):
        """Its tag names a process that found it claimed, and ended well."""
        run_id = self.strand(stack, {})
        stack.instance.run_storage.claim(run_id, "a process that died")
        stack.start(run_id)
        of_run = from_tag(stack.run(run_id).tags[WORKER_TAG])
        wait_for(lambda: not is_alive(of_run))
        assert stack.run(run_id).status is DagsterRunStatus.STARTING
        stranded_runs.recover(stack.instance, stack.run(run_id))
        assert stack.run(run_id).status is DagsterRunStatus.FAILURE, stack.log(run_id)

    @pytest.mark.parametrize(
        ("tags", "then"),
        [
            ({}, DagsterRunStatus.QUEUED),
            ({WORKER_TAG: ELSEWHERE}, DagsterRunStatus.FAILURE),
        ],
    )
    def test_a_silent_host_may_have_it(self, stack, tags, then, socket_directory, monkeypatch):
        """Busy or stopped, in another container: what it runs is neither dead nor run again."""
        monkeypatch.setattr(host_choice, "STATUS_SECONDS", 0.2)
        hosts = socket_directory / "hosts"
        hosts.mkdir()
        monkeypatch.setenv("DATANIKA_WORKER_SOCKETS", str(hosts))
        run_id = self.strand(stack, tags)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(hosts / "silent.sock"))
            silent.listen()
            stranded_runs.recover(stack.instance, stack.run(run_id))
            assert stack.run(run_id).status is DagsterRunStatus.STARTING
            health = stack.instance.run_launcher.check_run_worker_health(stack.run(run_id))
            assert health.status is WorkerStatus.RUNNING, "or monitoring takes it for dead"
        # Nobody listens any more: that host has gone.
        stranded_runs.recover(stack.instance, stack.run(run_id))
        assert stack.run(run_id).status is then
        terminate(stack.context, run_id)

    def test_one_that_nobody_queued_is_queued(self, stack, monkeypatch):
        run_id = stack.queue(FLIGHTS)
        with stack.instance.run_storage.connect() as connection:
            # Whoever made it was killed before it could queue it.
            query = db.text("UPDATE runs SET status = 'NOT_STARTED' WHERE run_id = :run_id")
            connection.execute(query, {"run_id": run_id})
        stranded_runs.enqueue_unsubmitted(stack.instance)
        assert stack.run(run_id).status is DagsterRunStatus.NOT_STARTED, "it may be just about to"
        monkeypatch.setattr(stranded_runs, "UNSUBMITTED_SECONDS", -1.0)
        stranded_runs.enqueue_unsubmitted(stack.instance)
        assert stack.run(run_id).status is DagsterRunStatus.QUEUED
        terminate(stack.context, run_id)

    def test_one_whose_process_died_has_failed(self, stack):
        run_id = self.strand(stack, {WORKER_TAG: DEAD})
        self.look(stack)
        assert stack.run(run_id).status is DagsterRunStatus.FAILURE
        assert "died before it started" in stack.log(run_id)


class TestLaunches:
    def launch(self, launches, executor, run_ids, launch_run):
        instance = SimpleNamespace(run_launcher=SimpleNamespace(launch_run=launch_run))

        def dequeue(run_id):
            return lambda given: given.run_launcher.launch_run(run_id)

        list(launches.start(executor, instance, {name: dequeue(name) for name in run_ids}))

    def test_a_slow_one_holds_up_no_other(self):
        launches, may_end, launched = Launches(), threading.Event(), []

        def launch_run(run_id):
            launched.append(run_id)
            if run_id == "slow":
                may_end.wait(30)

        with ThreadPoolExecutor(2) as executor:
            started = time.monotonic()
            self.launch(launches, executor, ["slow", "quick"], launch_run)
            self.launch(launches, executor, ["later"], launch_run)
            wait_for(lambda: sorted(launched) == ["later", "quick", "slow"], 10)
            assert time.monotonic() - started < 10
            assert launches.is_under_way("slow")
            may_end.set()
            wait_for(lambda: not launches.is_under_way("slow"), 10)

    def test_one_that_cannot_even_be_marked_is_an_error(self):
        launches = Launches()

        def fail(_):
            raise ConnectionError("no database")

        with ThreadPoolExecutor(1) as executor, pytest.raises(ConnectionError):
            list(launches.start(executor, SimpleNamespace(), {"run": fail}))
        assert not launches.is_under_way("run")


def test_a_cancelled_run_in_the_queue_never_starts(stack):
    run_id = stack.queue(FLIGHTS)
    assert terminate(stack.context, run_id) == "TerminateRunSuccess"
    with running_queue(stack):
        wait_for(lambda: ("GET", "/internal/v1/seal", None) in stack.control_plane.requests)
    assert stack.run(run_id).status is DagsterRunStatus.CANCELED
