"""Schedules, set to each minute, are ticked by the Dagster daemon: an old org's and a new one's."""

from tests.end_to_end.conftest import Org, RunningStack, on_this_machine, wait_until
from tests.end_to_end.test_publishing import upload_body

EACH_MINUTE = {"cron": "* * * * *", "timezone": "Europe/Athens", "is_active": True}
# Dagster's scheduler looks once a minute and first ticks in the minute after the one in which it first
# saw a schedule; a daemon that learned of a new org a minute late would need one more.
SOON_SECONDS = 150


def first_ticked_run(org: Org) -> dict | None:
    runs = [run for run in org.get("runs")["data"] if run["trigger"] == "schedule"]
    return runs[-1] if runs else None


def have_ended(runs: list[dict | None]) -> bool:
    return all(run and run["status"] in {"success", "failed"} for run in runs)


def tick_each_minute(org: Org, kind: str, target: dict) -> dict:
    """Makes and publishes a schedule."""
    schedule = org.post("schedules", target_type=kind, target_id=target["id"], **EACH_MINUTE)
    org.post("publish", expected=200)
    return schedule


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
        org.slug: (org, tick_each_minute(org, kind, target))
        for org, kind, target in ((newcomer, "transformation", model), (acme, "upload", upload))
    }
    try:
        runs = wait_until(
            lambda: [first_ticked_run(org) for org, _ in schedules.values()],
            have_ended,
            SOON_SECONDS,
        )
    finally:
        for org, schedule in schedules.values():
            stop(org, schedule)
    tables = {acme.slug: ["ticked", "airlines"], newcomer.slug: ["marts", "one"]}
    for run, (org, schedule) in zip(runs, schedules.values(), strict=True):
        view = org.get(f"runs/{run['id']}")
        assert view["status"] == "success", view["error"]
        assert view["actor"] == f"schedule_{schedule['id']}"
        assert [asset["asset_key"][2:] for asset in view["assets"]] == [tables[org.slug]]


SWITCHED_SECONDS = 10
STATES = """
query States($selector: RepositorySelector!) {
  schedulesOrError(repositorySelector: $selector) {
    ... on Schedules { results { name scheduleState { status } } }
  }
}
"""


def test_a_switch_is_kept_within_ten_seconds_without_a_publish(stack: RunningStack, acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "airlines", "switched"))
    yearly = {"cron": "@yearly", "timezone": "UTC", "is_active": False}
    target = {"target_type": "upload", "target_id": upload["id"]}
    schedule = acme.post("schedules", **target, **yearly)
    acme.post("publish", expected=200)
    selector = {"repositoryName": "__repository__", "repositoryLocationName": f"org_{acme.slug}"}

    def status() -> str | None:
        answer = stack.graphql(STATES, selector=selector)["schedulesOrError"]
        states = {one["name"]: one["scheduleState"]["status"] for one in answer["results"]}
        return states.get(f"schedule_{schedule['id']}")

    wait_until(status, lambda state: state == "STOPPED", 60)
    for is_active, wanted in ((True, "RUNNING"), (False, "STOPPED"), (True, "RUNNING")):
        answer = acme.api.patch(f"schedules/{schedule['id']}", json={"is_active": is_active})
        assert answer.status_code == 200, answer.text
        wait_until(
            status,
            lambda state, wanted=wanted: state == wanted,
            on_this_machine(SWITCHED_SECONDS),
        )
    acme.api.delete(f"schedules/{schedule['id']}")
    acme.post("publish", expected=200)
