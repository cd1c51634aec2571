"""The process of a job, started for real: what it reports, and what it keeps to itself."""

import json
import signal
import socket
import subprocess
import sys

import dagster as dg
import pytest

from datanika_dagster.launcher import job_processes, run_side
from datanika_dagster.launcher.job_processes import Terms

ENTRIES = "tests.datanika_dagster.launcher.entries"
PASSWORD = "canary-4711"
SECRETS = {"airline": {"connector": "postgres", "config": {"user": "loader", "password": PASSWORD}}}
KEY = dg.AssetKey(["acme", "warehouse", "raw", "flights"])


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def run(instance, monkeypatch, tmp_path):
    monkeypatch.setattr(job_processes, "CHILD_MODULE", ENTRIES)
    monkeypatch.setenv("DATANIKA_HOME", str(tmp_path))

    def materialize(entry):
        @dg.multi_asset(
            specs=[dg.AssetSpec(KEY)],
            can_subset=True,
            retry_policy=dg.RetryPolicy(max_retries=1, delay=0),
        )
        def step(context: dg.AssetExecutionContext):
            payload = {"tables": [list(KEY.path)]}
            yield from run_side.run_job(context, entry, payload, SECRETS, Terms(1, 30))

        return dg.materialize([step], instance=instance, raise_on_error=False)

    return materialize


def failure(result):
    (event,) = [e for e in result.all_events if e.is_step_failure]
    return event.step_failure_data.user_failure_data


def test_reports_and_logs_without_its_secrets(run, instance, capfd):
    result = run("load")
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["dagster/row_count"].value == 3
    assert metadata["note"].value == "via [redacted]"
    log = "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))
    assert "loading with [redacted]" in log
    assert PASSWORD not in log
    output = "".join(capfd.readouterr()) + compute_log(instance, result)
    assert "C code says [redacted]" in output
    assert PASSWORD not in output


def test_an_exception_becomes_its_class_and_its_message_without_secrets(run, instance):
    result = run("crash")
    data = failure(result)
    assert data.description == "ValueError: cannot use [redacted] here"
    assert data.metadata["datanika/code"].value == "job.failed"
    events = "".join(str(entry) for entry in instance.all_logs(result.run_id))
    assert PASSWORD not in events
    assert "entries.py" not in events  # no traceback of the job


def test_a_failure_with_a_code_keeps_it_and_may_be_tried_again(run):
    data = failure(run("refuse"))
    assert data.description == "Another run holds the lock."
    assert data.metadata["datanika/code"].value == "upload.busy"


def test_only_what_may_pass_by_itself_is_tried_again(run):
    assert retries(run("refuse")) == 1
    assert retries(run("crash")) == 0


def retries(result):
    return sum(event.is_step_up_for_retry for event in result.all_events)


def test_an_unknown_kind_of_job_names_the_known_ones(run):
    assert "known: connection_test" in failure(run("nothing_like_it")).description


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(run_side, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(run_side, "SILENT_SECONDS", 1.0)


def test_a_job_that_works_in_silence_beats(run, impatient):
    assert run("silent_for_a_while").success


@pytest.mark.parametrize("attempt", range(3))
def test_nothing_comes_after_the_last_message(run, monkeypatch, attempt):
    """Beats every millisecond would, if they went on."""
    monkeypatch.setattr(job_processes, "CHILD_MODULE", f"{ENTRIES}_of_a_fast_heart")
    assert run("load").success


def test_a_stopped_job_is_killed_and_records_nothing(run, impatient):
    result = run("stopped")
    assert failure(result).description == "The job gave no sign of life for 1 seconds."
    assert result.get_asset_materialization_events() == []


def test_a_job_never_imports_dagster(run, instance):
    result = run("imported")
    entries = [e.user_message for e in instance.all_logs(result.run_id) if e.level == 20]
    assert entries[-1] == ""


def test_a_job_dies_with_its_run():
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", ENTRIES, str(theirs.fileno()), "/tmp"],
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
    theirs.close()
    order = {"form": "step", "entry": "hang", "payload": {}, "secrets": {}}
    context = {"run_id": "x", "asset_keys": None, "extras": {}}
    ours.sendall(json.dumps(order | {"pipes_context": context}).encode() + b"\n")
    said = b""
    while b"pid" not in said:
        said += ours.recv(65536)
    ours.close()
    assert process.wait(timeout=10) == -signal.SIGKILL


def compute_log(instance, result):
    texts = []
    manager = instance.compute_log_manager
    for event in instance.all_logs(result.run_id):
        if event.dagster_event and event.dagster_event.event_type_value == "LOGS_CAPTURED":
            key = [result.run_id, "compute_logs", event.dagster_event.logs_captured_data.file_key]
            data = manager.get_log_data(key)
            texts += [(data.stdout or b"").decode(), (data.stderr or b"").decode()]
    return "".join(texts)
