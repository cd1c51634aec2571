"""A schedule, set to each minute, is ticked by the Dagster daemon."""

from tests.end_to_end.conftest import Org, wait_until
from tests.end_to_end.test_publishing import upload_body


def test_the_daemon_ticks_and_the_run_succeeds(acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "airlines", "ticked"))
    schedule = acme.post(
        "schedules",
        cron="* * * * *",
        timezone="Europe/Athens",
        target_type="upload",
        target_id=upload["id"],
        is_active=True,
    )
    acme.post("publish", expected=200)
    runs = wait_until(
        lambda: [run for run in acme.get("runs")["data"] if run["trigger"] == "schedule"],
        lambda runs: bool(runs) and runs[0]["status"] in {"success", "failed"},
        150,
    )
    view = acme.get(f"runs/{runs[0]['id']}")
    assert view["status"] == "success", view["error"]
    assert view["actor"] == f"schedule_{schedule['id']}"
    assert [asset["asset_key"][2:] for asset in view["assets"]] == [["ticked", "airlines"]]
    answer = acme.api.patch(f"schedules/{schedule['id']}", json={"is_active": False})
    assert answer.status_code == 200, answer.text
    acme.post("publish", expected=200)
