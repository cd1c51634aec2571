"""`dagster asset materialize` from a shell, with an API key."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import ROOT, Org, RunningStack, wait_until

TABLE = "acme/warehouse/airline/airlines"
MODEL = "acme/warehouse/staging/stg_flights"
SCOPES = ["runs:run", "secrets:run", "manifest:read"]


@pytest.fixture(scope="module")
def api_key(acme: Org) -> str:
    return acme.post("api-keys", name="shell", scopes=SCOPES)["key"]


def materialize(
    environment: dict[str, str], select: str, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "dagster"),
            "asset",
            "materialize",
            "-m",
            "datanika_dagster.definitions",
            "--select",
            select,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "DATANIKA_ORG": "acme", **more},
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize("select", [TABLE, MODEL])
def test_materializes_and_shows_in_rest_and_ui(
    stack: RunningStack, acme: Org, api_key: str, select: str
):
    before = {run["id"] for run in acme.get("runs")["data"]}
    done = materialize(stack.shell_environment(), select, DATANIKA_API_KEY=api_key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert api_key not in done.stdout + done.stderr
    run = wait_until(
        lambda: [run for run in acme.get("runs")["data"] if run["id"] not in before],
        lambda runs: bool(runs) and runs[0]["status"] == "success",
        15,
    )[0]
    assert (run["trigger"], run["actor"]) == ("shell", "shell")
    view = acme.get(f"runs/{run['id']}")
    assert ["/".join(asset["asset_key"]) for asset in view["assets"]] == [select]
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { tags { key value } } } }"
    tags = stack.graphql(query, id=run["id"])["runOrError"]["tags"]
    assert {"key": "datanika/org", "value": "acme"} in tags


def test_a_wrong_key_is_refused_before_anything_runs(stack: RunningStack, acme: Org):
    before = acme.get("runs")["data"]
    key = "etf_" + "x" * 43
    done = materialize(stack.shell_environment(), TABLE, DATANIKA_API_KEY=key)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "API key" in output
    assert key not in output
    assert acme.get("runs")["data"] == before


def test_a_key_that_may_run_gets_no_credentials_in_a_shell(stack: RunningStack, acme: Org):
    """It may launch: then the platform runs, and keeps the secrets to itself."""
    key = acme.post("api-keys", name="ci", scopes=["runs:run", "manifest:read"])["key"]
    done = materialize(stack.shell_environment(), TABLE, DATANIKA_API_KEY=key)
    assert done.returncode != 0
    assert "'secrets:run'" in done.stdout + done.stderr


def test_another_orgs_key_opens_nothing(stack: RunningStack):
    other = stack.sign_up("Keyholder")
    key = other.post("api-keys", name="shell", scopes=SCOPES)["key"]
    done = materialize(stack.shell_environment(), TABLE, DATANIKA_API_KEY=key)
    assert done.returncode != 0


def test_without_the_stacks_instance_the_hint_is_given(stack: RunningStack, api_key: str):
    environment = stack.shell_environment()
    environment.pop("DAGSTER_HOME")
    done = materialize(environment, TABLE, DATANIKA_API_KEY=api_key)
    assert done.returncode != 0
    assert "datanika env" in done.stdout + done.stderr
