"""`dagster asset materialize` from a shell, with an API key instead of a launcher."""

import subprocess
import sys

from dagster import DagsterRunStatus
from dagster._core.storage.dagster_run import RunsFilter

from datanika_manifest.run_records import ORG_TAG
from tests.datanika_dagster.launcher.conftest import FLIGHTS


def materialize(stack, environment, *, api_key="dtn_key", org="acme"):
    return subprocess.run(
        [
            *[sys.executable, "-m", "dagster", "asset", "materialize"],
            *["-m", "datanika_dagster.definitions", "--select", 'key:"acme/warehouse/raw/flights"'],
        ],
        env={
            "PATH": "/usr/bin:/bin",
            "DATANIKA_CONTROL_PLANE_URL": stack.control_plane.url,
            "DATANIKA_ORG": org,
            "DATANIKA_API_KEY": api_key,
        }
        | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_materializes_one_table_and_is_the_orgs_run(stack, dagster_home):
    before = stack.instance.get_runs_count(RunsFilter(tags={ORG_TAG: "acme"}))
    done = materialize(stack, dagster_home.environment)
    assert done.returncode == 0, done.stderr[-3000:]
    (run, *_) = stack.instance.get_runs(RunsFilter(tags={ORG_TAG: "acme"}))
    assert stack.instance.get_runs_count(RunsFilter(tags={ORG_TAG: "acme"})) == before + 1
    assert run.status is DagsterRunStatus.SUCCESS
    (intent,) = stack.control_plane.authorized
    assert intent["run_id"] == run.run_id
    assert intent["asset_keys"] == [list(FLIGHTS)]
    assert intent["manifest_sha256"] == stack.sha256
    assert stack.warehouse.value("SELECT count(*) FROM raw.flights") == 3


def test_a_wrong_key_fails_with_a_reason(stack, dagster_home):
    done = materialize(stack, dagster_home.environment, api_key="wrong")
    assert done.returncode != 0
    assert "The API key is not valid." in done.stderr


def test_without_a_dagster_home_it_says_where_to_get_one(stack, dagster_home):
    environment = dagster_home.environment
    del environment["DAGSTER_HOME"]
    done = materialize(stack, environment)
    assert done.returncode != 0
    assert 'eval "$(datanika env)"' in done.stderr
