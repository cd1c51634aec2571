"""Runs as the daemon starts them: a code server, a run's process and its job, on PostgreSQL."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterEvent, DagsterEventType, DagsterRunStatus, EventLogEntry
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.runs.schema import RunsTable

from datanika_dagster.launcher import worker
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import MANIFEST_TAG, ORG_TAG
from tests.datanika_dagster.launcher.conftest import FLIGHTS, PLANES
from tests.datanika_dagster.support.graphql import terminate
from tests.datanika_dagster.support.manifests import manifest
from tests.datanika_dagster.support.waiting import wait_for

ALLOWED = {  # of the worker host: a fork shows what its parent was started with
    *("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR", "PYTHONUNBUFFERED"),
    *("DAGSTER_HOME", "DATANIKA_HOME", "DBT_PROJECTS_DIR", "JE_ARROW_MALLOC_CONF"),
}
linux_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="reads /proc of hidden processes"
)


class TestRun:
    def test_loads_records_and_is_stamped(self, stack):
        run = stack.finished(stack.launch(FLIGHTS, PLANES))
        assert run.status is DagsterRunStatus.SUCCESS, stack.log(run.run_id)
        assert run.tags[ORG_TAG] == "acme"
        assert run.tags[MANIFEST_TAG] == stack.sha256
        event = stack.instance.get_latest_materialization_event(AssetKey(list(FLIGHTS)))
        assert event.run_id == run.run_id
        assert event.asset_materialization.metadata["dagster/row_count"].value == 3
        assert stack.warehouse.value("SELECT count(*) FROM raw.flights") == 3
        (intent,) = stack.control_plane.authorized
        assert intent["manifest_sha256"] == stack.sha256
        assert intent["asset_keys"] == [list(FLIGHTS), list(PLANES)]
        assert stack.control_plane.redeemed == {f"dtk_{run.run_id}"}

    def test_keeps_the_manifest_that_it_was_planned_with(self, stack):
        run_id = stack.queue(FLIGHTS)
        stack.control_plane.publish(manifest(tables=("airports",)))
        before = len(stack.control_plane.requests)
        run = stack.finished(start_queued(stack, run_id))
        assert run.status is DagsterRunStatus.SUCCESS, stack.log(run_id)
        assert run.tags[MANIFEST_TAG] == stack.sha256
        asked = stack.control_plane.requests[before:]
        fetched = [path for method, path, _ in asked if method == "GET"]
        assert fetched == [f"/internal/v1/orgs/acme/manifests/{stack.sha256}"]

    def test_keeps_what_was_loaded_when_another_table_fails(self, stack):
        stack.source.execute("ALTER TABLE planes RENAME TO aircraft")
        try:
            run = stack.finished(stack.launch(FLIGHTS, PLANES))
        finally:
            stack.source.execute("ALTER TABLE aircraft RENAME TO planes")
        assert run.status is DagsterRunStatus.FAILURE
        assert "planes" in stack.log(run.run_id)
        event = stack.instance.get_latest_materialization_event(AssetKey(list(FLIGHTS)))
        assert event.run_id == run.run_id

    def test_runs_of_one_upload_wait_for_each_other(self, stack):
        with locked(stack, "flights"):
            first = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            second = stack.launch(FLIGHTS)
            wait_for(lambda: stack.run(second).status is DagsterRunStatus.STARTED)
            time.sleep(2)
            assert waiting_loads(stack) == 1
        for run_id in (first, second):
            assert stack.finished(run_id).status is DagsterRunStatus.SUCCESS, stack.log(run_id)

    def test_a_run_may_wait_for_longer_than_its_token_lives(self, stack):
        with locked(stack, "flights"):
            first = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            second = stack.launch(FLIGHTS)
            wait_for(lambda: f"dtk_{second}" in stack.control_plane.redeemed)
            stack.control_plane.tokens.clear()
        for run_id in (first, second):
            assert stack.finished(run_id).status is DagsterRunStatus.SUCCESS, stack.log(run_id)


class TestRefusal:
    def test_fails_the_run_with_the_control_planes_reason(self, stack):
        stack.control_plane.refusal = (403, "Organization 'acme' is suspended.")
        run_id = stack.launch(FLIGHTS)
        assert stack.run(run_id).status is DagsterRunStatus.FAILURE
        assert "The run was refused: Organization 'acme' is suspended." in stack.log(run_id)
        assert WORKER_TAG not in stack.run(run_id).tags

    def test_a_silent_control_plane_leaves_the_run_to_the_queue(self, stack, monkeypatch):
        monkeypatch.setenv("DATANIKA_CONTROL_PLANE_URL", "http://127.0.0.1:9")
        with pytest.raises(DagsterUserCodeUnreachableError):
            stack.launch(FLIGHTS)
        (run,) = stack.instance.get_runs(limit=1)
        assert "Not started yet: The control plane did not answer" in stack.log(run.run_id)


class TestLostCredentials:
    def test_a_run_whose_credentials_were_lost_on_the_way_is_done_again(self, stack):
        stack.control_plane.lost_answers = 1
        run_id = stack.launch(FLIGHTS)
        run = stack.finished(run_id)
        assert run.status is DagsterRunStatus.FAILURE
        assert "The run is done again" in stack.log(run_id)
        wait_for(lambda: stack.run(run_id).tags.get("dagster/will_retry") == "true")


def test_a_run_waits_for_a_control_plane_that_is_started_again_while_it_loads(stack):
    # The code server has its manifest already.
    stack.control_plane.silent_manifests = 2
    run_id = stack.launch(FLIGHTS)
    assert stack.finished(run_id).status is DagsterRunStatus.SUCCESS, stack.log(run_id)
    assert stack.control_plane.silent_manifests == 0


class TestEndings:
    def test_a_run_that_was_killed_after_it_had_told_its_success_has_succeeded(self, stack):
        with locked(stack, "flights"):
            run_id = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            run = stack.run(run_id)
            told = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, run.job_name)
            entry = EventLogEntry(None, 10, "", run_id, time.time(), dagster_event=told)
            # The log alone: the process is killed before the run's status says the same.
            stack.instance.event_log_storage.store_event(entry)
            os.kill(worker.from_tag(run.tags[WORKER_TAG]).pid, signal.SIGKILL)
            assert stack.finished(run_id).status is DagsterRunStatus.SUCCESS, stack.log(run_id)

    def test_cancelling_stops_the_job_too(self, stack):
        with locked(stack, "flights"):
            run_id = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            of_run = worker.from_tag(stack.run(run_id).tags[WORKER_TAG])
            assert terminate(stack.context, run_id) == "TerminateRunSuccess"
            assert stack.finished(run_id).status is DagsterRunStatus.CANCELED
            wait_for(lambda: not waiting_loads(stack))
            wait_for(lambda: not worker.is_alive(of_run))
        assert terminate(stack.context, run_id) == "TerminateRunFailure"

    def test_a_killed_process_is_a_failed_run_within_seconds(self, stack):
        with locked(stack, "flights"):
            run_id = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            run = stack.run(run_id)
            launcher = stack.instance.run_launcher
            assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
            # As if the launcher had been killed before it wrote down where the run is.
            untagged = run.with_tags({k: v for k, v in run.tags.items() if k != WORKER_TAG})
            assert launcher.check_run_worker_health(untagged).status is WorkerStatus.RUNNING
            pid = worker.from_tag(run.tags[WORKER_TAG]).pid
            jobs = [worker.of_pid(job) for job in jobs_of(stack, run_id)]
            os.kill(pid, signal.SIGKILL)
            assert stack.finished(run_id, 5).status is DagsterRunStatus.FAILURE
            assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED
            assert jobs
            wait_for(lambda: not any(worker.is_alive(job) for job in jobs))
        assert "killed by SIGKILL" in stack.log(run_id)

    def test_a_run_that_counts_as_failed_loads_nothing_more_and_stays_failed(self, stack):
        with locked(stack, "flights"):
            run_id = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            of_run = worker.from_tag(stack.run(run_id).tags[WORKER_TAG])
            stack.instance.report_run_failed(stack.run(run_id), "It was taken for dead.")
            wait_for(lambda: not waiting_loads(stack), 15)
            wait_for(lambda: not worker.is_alive(of_run), 15)
        assert stack.run(run_id).status is DagsterRunStatus.FAILURE

    def test_no_run_is_executed_twice(self, stack):
        run_id = stack.launch(FLIGHTS)
        first = stack.finished(run_id)
        wait_for(lambda: not has_process(stack, run_id))
        # As if nobody had heard of the first launch.
        set_status(stack, run_id, DagsterRunStatus.STARTING)
        stack.start(run_id)
        wait_for(lambda: not has_process(stack, run_id))
        steps = stack.instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_START)
        assert (first.status, len(steps.records)) == (DagsterRunStatus.SUCCESS, 1)

    def test_a_killed_run_does_not_keep_its_place(self, stack):
        with locked(stack, "flights"):
            killed = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            os.kill(worker.from_tag(stack.run(killed).tags[WORKER_TAG]).pid, signal.SIGKILL)
            stack.finished(killed, 5)
        run = stack.finished(stack.launch(FLIGHTS))
        assert run.status is DagsterRunStatus.SUCCESS, stack.log(run.run_id)


@linux_root
class TestSecrecy:
    def test_a_runs_environment_is_the_allow_list_and_shows_no_secret(self, stack, dagster_home):
        with locked(stack, "flights"):
            run_id = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            pid = worker.from_tag(stack.run(run_id).tags[WORKER_TAG]).pid
            family = (pid, *children_of(pid), *jobs_of(stack, run_id))
            shown = Path(f"/proc/{pid}/environ").read_text()
            inherited = "".join(Path(f"/proc/{one}/environ").read_text() for one in family)
            arguments = "".join(arguments_of(child) for child in family)
            terminate(stack.context, run_id)
        stack.finished(run_id)
        names = {entry.partition("=")[0] for entry in shown.split("\0") if entry}
        assert names <= ALLOWED
        log = (dagster_home.path / "run_logs" / f"{run_id}.log").read_text()
        secrets = (f"dtk_{run_id}", stack.source.cluster.superuser_password)
        for secret in secrets:
            assert secret not in inherited
            assert secret not in arguments
            assert secret not in log
            assert secret not in stack.log(run_id)
        assert dagster_home.storage_url not in arguments + inherited

    def test_the_job_has_no_dagster_and_no_control_plane_credential(self, stack):
        with locked(stack, "flights"):
            run_id = stack.launch(FLIGHTS)
            wait_for(lambda: waiting_loads(stack))
            pid = worker.from_tag(stack.run(run_id).tags[WORKER_TAG]).pid
            (job,) = jobs_of(stack, run_id)
            assert job not in children_of(pid)
            # The first process of a namespace of its own: the variables as they were at the start.
            environment = Path(f"/proc/{job}/environ").read_text()
            terminate(stack.context, run_id)
        stack.finished(run_id)
        names = {entry.partition("=")[0] for entry in environment.split("\0") if entry}
        assert names <= ALLOWED


def start_queued(stack, run_id):
    stack.start(run_id)
    return run_id


@contextmanager
def locked(stack, table):
    """Keeps a load waiting for as long as the test needs it to."""
    with stack.source.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def has_process(stack, run_id):
    return any(one.get("run_id") == run_id for one in stack.host.info()["children"])


def set_status(stack, run_id, status):
    """Writes a status that no run gets to in this way."""
    with stack.instance.run_storage.connect() as connection:
        of_run = RunsTable.c.run_id == run_id
        connection.execute(RunsTable.update().where(of_run).values(status=status.value))


def waiting_loads(stack):
    return stack.source.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )


def jobs_of(stack, run_id):
    """Returns the process ids of a run's jobs, as its host knows them."""
    children = stack.host.info()["children"]
    return [one["pid"] for one in children if one["role"] == "job" and one["run_id"] == run_id]


def arguments_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text()


def children_of(pid):
    shown = subprocess.run(
        ["/bin/ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [line.split() for line in shown.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]
