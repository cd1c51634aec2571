"""What a run did, read from its events; statuses, mapped from all of Dagster's."""

from dagster import DagsterRunStatus

from control_plane.runs.dagster import LogEvent
from control_plane.runs.models import RunStatus
from control_plane.runs.results import assets_of, checks_of, failure_of, log_lines
from control_plane.runs.status import ENDED, PUBLIC_STATUS
from datanika_manifest.run_records import NOT_STARTED_YET, WAITS_FOR_UNLOCK

KEY = {"path": ["acme", "warehouse", "airline", "flights"]}


def event(kind: str, **fields) -> LogEvent:
    base = {
        "timestamp": "1795253425356",
        "level": "INFO",
        "stepKey": "upload__airline",
        "eventType": None,
        "message": "said",
    }
    return LogEvent(kind, {**base, **fields})


def entries(**values) -> list[dict]:
    kinds = {int: "intValue", float: "floatValue", str: "text"}
    return [{"label": k.replace("__", "/"), kinds[type(v)]: v} for k, v in values.items()]


def test_every_status_of_dagster_has_a_public_one():
    # NOT_STARTED is Dagster's word for a run that is only planned; MANAGED is Dagster+'s.
    assert set(PUBLIC_STATUS) == {status.value for status in DagsterRunStatus}
    assert {PUBLIC_STATUS[s] for s in ("SUCCESS", "FAILURE", "CANCELED")} == ENDED
    assert PUBLIC_STATUS["CANCELING"] == RunStatus.RUNNING


def test_the_last_figures_of_an_asset_count():
    events = [
        event("MaterializationEvent", assetKey=KEY, metadataEntries=entries(dagster__row_count=1)),
        event(
            "MaterializationEvent",
            assetKey=KEY,
            metadataEntries=entries(
                dagster__row_count=336776,
                datanika__duration_seconds=1.5,
                datanika__backend="postgres_copy",
            ),
        ),
    ]
    (asset,) = assets_of(events)
    assert (asset.name, asset.kind, asset.rows) == ("flights", "table", 336776)
    assert (asset.duration_seconds, asset.backend) == (1.5, "postgres_copy")


def test_models_are_told_from_tables():
    model = event(
        "MaterializationEvent", stepKey="dbt__warehouse", assetKey=KEY, metadataEntries=[]
    )
    assert assets_of([model])[0].kind == "model"


def test_a_failing_check_is_a_warning_or_a_failure():
    def status(success: bool, severity: str) -> str:
        evaluation = {
            "assetKey": KEY,
            "checkName": "c",
            "success": success,
            "severity": severity,
            "metadataEntries": entries(datanika__failures=7),
        }
        (check,) = checks_of([event("AssetCheckEvaluationEvent", evaluation=evaluation)])
        assert check.failures == 7
        return check.status

    assert status(True, "WARN") == status(True, "ERROR") == "pass"
    assert status(False, "WARN") == "warn"
    assert status(False, "ERROR") == "fail"


def test_a_step_says_why_a_run_failed_and_else_the_run():
    of_run = event("RunFailureEvent", message="The run was refused.")
    of_step = event("ExecutionStepFailureEvent", failureMetadata={"description": "no such table"})
    assert failure_of([of_run]) == "The run was refused."
    assert failure_of([of_step, of_run]) == "no such table"
    assert failure_of([event("RunSuccessEvent")]) is None


def test_the_log_leaves_the_machinery_out():
    lines = log_lines([event("EngineEvent"), event("LogMessageEvent", message="loading")])
    assert [line.message for line in lines] == ["loading"]
    assert lines[0].timestamp.isoformat() == "2026-11-21T09:30:25.356000+00:00"


def test_the_log_says_that_a_run_waits_for_the_platform_to_be_unlocked():
    told = [WAITS_FOR_UNLOCK, f"{NOT_STARTED_YET}No worker host answers."]
    lines = log_lines([event("EngineEvent"), *(event("EngineEvent", message=m) for m in told)])
    assert [line.message for line in lines] == told
