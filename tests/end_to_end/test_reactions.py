"""What runs because something happened, with Dagster's own daemons: a success, or that data is stale."""

from typing import Any

import pytest

from tests.end_to_end.conftest import Org, on_this_machine, wait_until
from tests.end_to_end.test_publishing import upload_body

# The shortest age that Dagster watches, its daemon's interval, and the worker's.
STALE_SECONDS = 60 + 30 + 10


def runs_by(org: Org, trigger: str, actor: str) -> list[dict[str, Any]]:
    runs = org.get("runs", limit=100)["data"]
    return [run for run in runs if (run["trigger"], run["actor"]) == (trigger, actor)]


def have_succeeded(runs: list[dict[str, Any]]) -> bool:
    assert all(run["status"] not in {"failed", "cancelled"} for run in runs), runs
    return bool(runs) and all(run["status"] == "success" for run in runs)


@pytest.fixture(autouse=True)
def minutes(pytestconfig: pytest.Config) -> None:
    """Dagster watches no age below a minute, and looks twice a minute."""
    if not pytestconfig.getoption("--chaos"):
        pytest.skip("minutes: pytest --chaos, or make test-long")


def test_a_success_launches_what_comes_after_it_and_age_what_is_stale(acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "airlines", "watched"))
    model = acme.post(
        "transformations",
        name="watched_count",
        schema="marts",
        sql="select count(*) as n from {{ source('watched', 'airlines') }}",
        materialization="table",
    )
    edge = acme.post(
        "dependencies",
        upstream_type="upload",
        upstream_id=upload["id"],
        downstream_type="transformation",
        downstream_id=model["id"],
        runs_after_success=True,
    )
    policy = acme.post(
        "freshness-policies",
        target_type="upload",
        target_id=upload["id"],
        max_age_seconds=60,
        severity="error",
        reaction="launch",
    )
    acme.post("publish", expected=200)
    first = acme.wait_for_run(acme.post(f"uploads/{upload['id']}/runs", expected=202)["id"])
    assert first["status"] == "success", first["error"]
    by_edge = ("dependency", f"dependency {edge['id']}")
    wait_until(lambda: runs_by(acme, *by_edge), have_succeeded, on_this_machine(30))
    try:
        by_policy = ("freshness", f"freshness {policy['id']}")
        seconds = on_this_machine(STALE_SECONDS + 60)
        wait_until(lambda: runs_by(acme, *by_policy), have_succeeded, seconds)
        (asset,) = [
            one for one in acme.get("freshness")["data"] if one["policy_id"] == policy["id"]
        ]
        assert asset["last_loaded_at"] > first["ended_at"]
        reactions = acme.get(f"freshness-policies/{policy['id']}/reactions")["data"]
        assert [one["state"] for one in reactions if one["run_id"]] == ["launched"] * len(reactions)
    finally:
        acme.api.delete(f"freshness-policies/{policy['id']}")
    loads = len(runs_by(acme, *by_policy)) + 1
    built = wait_until(
        lambda: runs_by(acme, *by_edge), lambda runs: len(runs) >= loads, on_this_machine(30)
    )
    assert len(built) == loads, "one for each load, whoever has launched that"
