"""What a job's messages become in the run, and what is refused."""

import subprocess
import sys

import dagster as dg
import pytest

from datanika_dagster.errors import MessageRefused
from datanika_dagster.transformations.events import translate
from datanika_manifest.transformations import DbtProject

PROJECT = DbtProject.model_validate(
    {
        "connection": "warehouse",
        "sha256": "0" * 64,
        "nodes": [
            {
                "unique_id": "model.datanika.dim",
                "transformation_id": 3,
                "resource_type": "model",
                "name": "dim",
                "asset_key": ["acme", "warehouse", "mart", "dim"],
                "materialization": "table",
                "tests": [
                    {
                        "unique_id": "test.datanika.unique_id~dim.1",
                        "check_name": "unique_id",
                        "severity": "warn",
                    }
                ],
            }
        ],
    }
)
KEY = dg.AssetKey(["acme", "warehouse", "mart", "dim"])


def events(**result):
    return list(translate(PROJECT, {"dbt": result}))


def test_a_built_node_is_a_materialization():
    (event,) = events(
        unique_id="model.datanika.dim",
        status="success",
        rows=12,
        duration_seconds=0.25,
        adapter_response="SELECT 12",
        started_at="2026-11-21T09:00:00+00:00",
    )

    assert isinstance(event, dg.MaterializeResult)
    assert event.asset_key == KEY
    assert event.metadata == {
        "datanika/materialization": "table",
        "dagster/row_count": 12,
        "datanika/duration_seconds": 0.25,
        "datanika/adapter_response": "SELECT 12",
        "datanika/started_at": "2026-11-21T09:00:00+00:00",
    }


@pytest.mark.parametrize("status", ["error", "skipped"])
def test_a_node_that_was_not_built_is_none(status):
    assert events(unique_id="model.datanika.dim", status=status) == []


@pytest.mark.parametrize(
    ("status", "passed", "severity"),
    [("pass", True, "WARN"), ("warn", False, "WARN"), ("error", False, "ERROR")],
)
def test_a_test_is_a_check_with_the_manifests_severity(status, passed, severity):
    (event,) = events(unique_id="test.datanika.unique_id~dim.1", status=status, failures=2)

    assert isinstance(event, dg.AssetCheckResult)
    assert (event.asset_key, event.check_name) == (KEY, "unique_id")
    assert event.passed is passed
    assert event.severity.value == severity
    assert event.metadata["datanika/failures"].value == 2


@pytest.mark.parametrize(
    "message",
    [
        {"dbt": {"unique_id": "model.datanika.other", "status": "success"}},
        {"dbt": {"unique_id": "model.datanika.dim", "status": "great"}},
        {"dbt": {"unique_id": "model.datanika.dim", "status": "success", "rows": -1}},
        {"dbt": {"unique_id": "model.datanika.dim", "status": "success", "severity": "WARN"}},
        {"dbt": {"unique_id": "model.datanika.dim", "status": "error", "message": "x" * 5000}},
        {"dbt": "model.datanika.dim"},
        {"dbt": {"unique_id": "model.datanika.dim", "status": "success"}, "more": 1},
        {"other": {}},
        {},
    ],
)
def test_what_the_project_does_not_allow_is_refused(message):
    with pytest.raises(MessageRefused):
        list(translate(PROJECT, message))


def test_the_runs_side_imports_no_dbt():
    code = (
        "import sys, datanika_dagster.transformations.events;"
        "sys.exit(any(m.partition('.')[0] in ('dbt', 'dagster_dbt', 'dlt') for m in sys.modules))"
    )
    child = subprocess.run([sys.executable, "-c", code], check=False)
    assert child.returncode == 0
