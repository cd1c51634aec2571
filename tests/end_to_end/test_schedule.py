"""Schedules, set to each minute, are ticked by the Dagster daemon: an old org's and a new one's."""

from datetime import datetime

from tests.end_to_end.conftest import Org, RunningStack, wait_until
from tests.end_to_end.test_publishing import upload_body

EACH_MINUTE = {"cron": "* * * * *", "timezone": "Europe/Athens", "is_active": True}
# Until the daemon knows the org, the whole minute after that, and the launch on a busy machine.
SOON_SECONDS = 110


def first_ticked_run(org: Org) -> dict | None:
    runs = [run for run in org.get("runs")["data"] if run["trigger"] == "schedule"]
    return runs[-1] if runs else None


def have_ended(runs: list[dict | None]) -> bool:
    return all(run and run["status"] in {"success", "failed"} for run in runs)


def tick_each_minute(org: Org, kind: str, target: dict) -> tuple[dict, datetime]:
    """Makes and publishes a schedule; returns it and when it was published."""
    schedule = org.post("schedules", target_type=kind, target_id=target["id"], **EACH_MINUTE)
    published = org.post("publish", expected=200)
    return schedule, datetime.fromisoformat(published["published_at"])


def stop(org: Org, schedule: dict) -> None:
    answer = org.api.patch(f"schedules/{schedule['id']}", json={"is_active": False})
    assert answer.status_code == 200, answer.text
    org.post("publish", expected=200)


def test_the_daemon_ticks_for_every_org(stack: RunningStack, acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "airlines", "ticked"))
    newcomer = stack.sign_up("Newcomer")
    wait_until(lambda: newcomer.get("warehouse"), lambda w: w["state"] == "ready", 30)
    model = newcomer.post(
        "transformations", name="one", schema="marts", sql="select 1 as one", materialization="view"
    )
    schedules = {
        org.slug: (org, *tick_each_minute(org, kind, target))
        for org, kind, target in ((newcomer, "transformation", model), (acme, "upload", upload))
    }
    try:
        runs = wait_until(
            lambda: [first_ticked_run(org) for org, _, _ in schedules.values()], have_ended, 150
        )
    finally:
        for org, schedule, _ in schedules.values():
            stop(org, schedule)
    tables = {acme.slug: ["ticked", "airlines"], newcomer.slug: ["marts", "one"]}
    for run, (org, schedule, published_at) in zip(runs, schedules.values(), strict=True):
        view = org.get(f"runs/{run['id']}")
        assert view["status"] == "success", view["error"]
        assert view["actor"] == f"schedule_{schedule['id']}"
        assert [asset["asset_key"][2:] for asset in view["assets"]] == [tables[org.slug]]
        waited = datetime.fromisoformat(view["created_at"]) - published_at
        assert waited.total_seconds() < SOON_SECONDS, org.slug
