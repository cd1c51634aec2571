"""The run's side of a job: real processes, a real socket, Dagster's own event log."""

import json
import os
import signal
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG as RETRY_TAG
from sqlalchemy import text

from datanika_dagster.launcher import endings, job_processes, run_side
from datanika_dagster.launcher.job_processes import Terms

RAW_CHILD = "tests.datanika_dagster.launcher.raw_child"
FLIGHTS = dg.AssetKey(["acme", "warehouse", "raw", "flights"])
PLANES = dg.AssetKey(["acme", "warehouse", "raw", "planes"])
SECRETS = {"airline": {"connector": "postgres", "config": {"password": "canary-4711"}}}
OPENED = json.dumps({"method": "opened", "params": {}})
OK = json.dumps(
    {
        "method": "report_custom_message",
        "params": {"payload": {"datanika/outcome": {"ok": True, "value": None}}},
    }
)


def materialization(key, rows=3):
    metadata = {"dagster/row_count": {"type": "int", "raw_value": rows}}
    return json.dumps(
        {
            "method": "report_asset_materialization",
            "params": {
                "asset_key": key.to_escaped_user_string(),
                "data_version": None,
                "metadata": metadata,
            },
        }
    )


def failure(message, code="upload.failed"):
    error = {"code": code, "message": message, "field": None}
    outcome = {"datanika/outcome": {"ok": False, "error": error}}
    return json.dumps({"method": "report_custom_message", "params": {"payload": outcome}})


@pytest.fixture
def instance():
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def run(instance, monkeypatch, tmp_path):
    """Runs a step of two tables whose job does what the payload says."""
    monkeypatch.setattr(job_processes, "CHILD_MODULE", RAW_CHILD)
    monkeypatch.setattr(run_side, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(run_side, "GRACE_SECONDS", 0.5)
    monkeypatch.setenv("DATANIKA_HOME", str(tmp_path))
    monkeypatch.setenv("DATANIKA_API_KEY", "must-not-be-inherited")

    def materialize(payload, deadline_seconds=30.0, translate=None, on_start=None):
        @dg.multi_asset(specs=[dg.AssetSpec(FLIGHTS), dg.AssetSpec(PLANES)], can_subset=True)
        def load(context: dg.AssetExecutionContext):
            if on_start:
                on_start(context)
            yield from run_side.run_job(
                context,
                "upload",
                payload,
                SECRETS,
                Terms(1, deadline_seconds),
                translate,
            )

        return dg.materialize([load], instance=instance, raise_on_error=False)

    return materialize


def reason(result):
    (event,) = [e for e in result.all_events if e.is_step_failure]
    data = event.step_failure_data.user_failure_data
    return data.description if data else event.step_failure_data.error.to_string()


def materialized(result):
    return [event.asset_key for event in result.get_asset_materialization_events()]


class TestRecords:
    def test_what_the_job_reports(self, run):
        result = run({"lines": [materialization(FLIGHTS), materialization(PLANES), OK]})
        assert result.success
        assert materialized(result) == [FLIGHTS, PLANES]
        (first, _) = result.get_asset_materialization_events()
        metadata = first.step_materialization_data.materialization.metadata
        assert metadata["dagster/row_count"].value == 3

    def test_what_was_reported_before_a_failure_and_fails_the_step_by_name(self, run):
        result = run(
            {"lines": [materialization(FLIGHTS), failure("planes: no such table")], "exit_code": 1}
        )
        assert not result.success
        assert materialized(result) == [FLIGHTS]
        assert reason(result) == "planes: no such table"

    def test_the_jobs_own_words_where_the_run_cannot_be_marked_for_a_retry(self, run, instance):
        def forbid_tags(context):
            with instance.run_storage.connect() as connection:
                connection.execute(
                    text(
                        f"CREATE TRIGGER no_tag BEFORE INSERT ON run_tags WHEN NEW.key = '{RETRY_TAG}'"
                        " BEGIN SELECT RAISE(ABORT, 'no tag'); END"
                    )
                )

        told = {"lines": [failure("The database went away.")], "exit_code": endings.RETRYABLE}
        result = run(told, on_start=forbid_tags)
        assert reason(result) == "The database went away."
        assert "could not be marked" in str(list(instance.all_logs(result.run_id)))

    def test_a_bounded_part_of_an_endless_log_and_everything_else(self, run, instance, monkeypatch):
        monkeypatch.setenv("DATANIKA_STEP_LOG_LINES", "100")
        said = {"method": "log", "params": {"message": "again and again", "level": "info"}}
        lines = [OPENED, *[json.dumps(said)] * 5000, materialization(FLIGHTS)]
        result = run({"lines": [*lines, materialization(PLANES), OK]})
        assert result.success
        assert materialized(result) == [FLIGHTS, PLANES]
        log = [str(entry.user_message) for entry in instance.all_logs(result.run_id)]
        assert log.count("again and again") == 100
        (words,) = [message for message in log if "were dropped" in message]
        assert words.startswith("4900 further lines")

    def test_results_that_the_step_makes_of_the_jobs_own_messages(self, run):
        def translate(message):
            yield dg.MaterializeResult(asset_key=FLIGHTS, metadata={"x": message["x"]})

        own = {"method": "report_custom_message", "params": {"payload": {"x": 1}}}
        result = run({"lines": [json.dumps(own), materialization(PLANES), OK]}, translate=translate)
        assert result.success
        assert materialized(result) == [FLIGHTS, PLANES]

    def test_nothing_of_a_silent_job_that_exits_with_0(self, run):
        result = run({})
        assert not result.success
        assert materialized(result) == []
        assert "without saying why" in reason(result)

    def test_nothing_of_a_job_that_says_it_is_done_and_reports_nothing(self, run):
        result = run({"lines": [OK]})
        assert materialized(result) == []
        assert reason(result) == (
            "The job ended without reporting acme/warehouse/raw/flights, acme/warehouse/raw/planes."
        )


class TestRefuses:
    def test_an_asset_of_another_org_and_records_nothing_of_it(self, run, instance):
        foreign = dg.AssetKey(["globex", "warehouse", "raw", "flights"])
        result = run({"lines": [materialization(FLIGHTS), materialization(foreign), OK]})
        assert not result.success
        assert "globex/warehouse/raw/flights" in reason(result)
        assert materialized(result) == [FLIGHTS]
        assert instance.get_latest_materialization_event(foreign) is None

    def test_the_same_asset_twice(self, run):
        result = run({"lines": [materialization(FLIGHTS), materialization(FLIGHTS), OK]})
        assert "twice" in reason(result)
        assert materialized(result) == [FLIGHTS]

    def test_a_flood_without_a_line_end(self, run):
        assert "too long" in reason(run({"flood_bytes": 2 << 20}))

    def test_messages_of_its_own_that_the_step_does_not_know(self, run):
        own = {"method": "report_custom_message", "params": {"payload": {"dbt": {}}}}
        assert "does not know" in reason(run({"lines": [json.dumps(own)]}))

    def test_a_translated_result_outside_the_step(self, run):
        foreign = dg.AssetKey(["globex", "warehouse", "raw", "flights"])

        def translate(_):
            yield dg.MaterializeResult(asset_key=foreign)

        own = {"method": "report_custom_message", "params": {"payload": {"x": 1}}}
        result = run({"lines": [json.dumps(own)]}, translate=translate)
        assert "not in its step" in reason(result)

    def test_an_outcome_of_another_form(self, run):
        own = {"datanika/outcome": {"ok": "yes", "shell": "rm"}}
        message = {"method": "report_custom_message", "params": {"payload": own}}
        assert "another form" in reason(run({"lines": [json.dumps(message)]}))


class TestEndings:
    def test_a_killed_job_says_so(self, run):
        result = run({"lines": [materialization(FLIGHTS)], "signal": signal.SIGKILL})
        assert "SIGKILL" in reason(result)
        assert materialized(result) == [FLIGHTS]

    def test_how_it_ended_is_said_once(self, run, instance):
        result = run({"lines": [OPENED], "signal": signal.SIGKILL})
        log = [str(entry.user_message) for entry in instance.all_logs(result.run_id)]
        assert not any("did not receive closed" in message for message in log)

    def test_an_exit_code_without_an_explanation(self, run):
        assert "exit code 3" in reason(run({"exit_code": 3}))

    def test_the_deadline_kills_the_job(self, run, tmp_path):
        evidence = tmp_path / "evidence.json"
        started = time.monotonic()
        result = run({"evidence": str(evidence), "sleep_seconds": 60}, deadline_seconds=1)
        assert "after 1 seconds" in reason(result)
        assert time.monotonic() - started < 20
        assert_gone(json.loads(evidence.read_text())["pid"])

    def test_a_process_that_the_job_left_behind_does_not_keep_the_step(self, run):
        lines = [materialization(FLIGHTS), materialization(PLANES), OK]
        started = time.monotonic()
        assert run({"lines": lines, "leave_behind": True}).success
        assert time.monotonic() - started < 20

    @pytest.mark.parametrize(
        ("report", "status"),
        [
            ("report_run_canceling", dg.DagsterRunStatus.CANCELED),
            # Taken for dead, and perhaps already started again as another run.
            ("report_run_failed", dg.DagsterRunStatus.FAILURE),
        ],
    )
    def test_a_run_that_is_to_end_stops_its_job(self, run, instance, tmp_path, report, status):
        evidence = tmp_path / "evidence.json"
        runs = []

        def end(_):
            getattr(instance, report)(runs[0])
            return iter(())

        own = {"method": "report_custom_message", "params": {"payload": {"x": 1}}}
        result = run(
            {
                "evidence": str(evidence),
                "lines": [materialization(FLIGHTS), json.dumps(own)],
                "sleep_seconds": 60,
            },
            on_start=lambda context: runs.append(context.run),
            translate=end,
        )
        assert instance.get_run_by_id(result.run_id).status is status
        assert materialized(result) == [FLIGHTS]
        assert_gone(json.loads(evidence.read_text())["pid"])

    @pytest.mark.parametrize("report", ["report_run_canceling", "report_run_failed"])
    def test_a_run_that_is_to_end_starts_no_job(self, run, instance, tmp_path, report):
        evidence = tmp_path / "evidence.json"
        result = run(
            {"evidence": str(evidence)},
            on_start=lambda context: getattr(instance, report)(context.run),
        )
        assert instance.get_run_by_id(result.run_id).is_finished
        assert not evidence.exists()


class TestIsolation:
    def test_the_environment_is_exactly_the_allow_list(self, run, tmp_path):
        evidence = self.evidence(run, tmp_path)
        environment = evidence["environment"]
        assert set(environment) - {"LC_ALL", "TZ", "LC_CTYPE", "__CF_USER_TEXT_ENCODING"} == {
            "PATH",
            "LANG",
            "HOME",
            "TMPDIR",
        }
        assert environment["HOME"] == evidence["work_dir"]

    def test_the_secrets_come_over_the_socket_and_are_nowhere_else(self, run, tmp_path):
        evidence = self.evidence(run, tmp_path)
        assert evidence.pop("secrets") == SECRETS
        assert "canary-4711" not in json.dumps(evidence)

    def test_the_working_directory_is_private_and_removed(self, run, tmp_path):
        evidence = self.evidence(run, tmp_path)
        assert Path(evidence["work_dir"]).parent == tmp_path / "work"
        assert not Path(evidence["work_dir"]).exists()

    def test_no_event_holds_a_secret(self, run, instance, tmp_path):
        lines = [materialization(FLIGHTS), failure("planes: refused")]
        result = run({"lines": lines, "exit_code": 1})
        events = instance.all_logs(result.run_id)
        assert "canary-4711" not in "".join(str(event) for event in events)

    @staticmethod
    def evidence(run, tmp_path):
        path = tmp_path / "evidence.json"
        lines = [materialization(FLIGHTS), materialization(PLANES), OK]
        assert run({"evidence": str(path), "lines": lines}).success
        return json.loads(path.read_text())


def assert_gone(pid):
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
