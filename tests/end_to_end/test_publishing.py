"""Changes reach Dagster without a restart, and never a run that is under way."""

import time

from tests.end_to_end.conftest import Org, RunningStack, on_this_machine, wait_until

ASSETS = "{ assetNodes { assetKey { path } } }"


def asset_keys(stack: RunningStack) -> set[str]:
    nodes = stack.graphql(ASSETS)["assetNodes"]
    return {"/".join(node["assetKey"]["path"]) for node in nodes}


def upload_body(acme: Org, table: str, schema: str) -> dict:
    airline = acme.row("connections", "Airline database")
    warehouse = acme.get("warehouse")
    return {
        "name": f"Only {table} into {schema}",
        "source_connection_id": airline["id"],
        "destination_connection_id": warehouse["connection_id"],
        "config": {
            "mode": "single_table",
            "table": table,
            "target_schema": schema,
            "write_disposition": "replace",
        },
    }


def test_a_changed_upload_shows_within_ten_seconds(stack: RunningStack, acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "airlines", "changing"))
    acme.post("publish", expected=200)
    new = "acme/warehouse/changing/airlines"
    wait_until(lambda: asset_keys(stack), lambda keys: new in keys, 30)
    answer = acme.api.patch(f"uploads/{upload['id']}", json={"config": {"target_table": "lines"}})
    assert answer.status_code == 200, answer.text
    published = acme.post("publish", expected=200)
    assert published["changed"]
    started_at = time.monotonic()
    changed = "acme/warehouse/changing/lines"
    wait_until(lambda: asset_keys(stack), lambda keys: changed in keys and new not in keys, 60)
    assert time.monotonic() - started_at <= on_this_machine(10)
    assert acme.get("manifest")["sha256"] == published["sha256"]
    wait_until(lambda: acme.get("manifest"), lambda state: state["state"] == "live", 10)


def test_publishing_nothing_new_changes_nothing(acme: Org):
    first = acme.post("publish", expected=200)
    second = acme.post("publish", expected=200)
    assert second["sha256"] == first["sha256"]
    assert not second["changed"]


def test_a_run_keeps_the_manifest_that_it_was_launched_with(stack: RunningStack, acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "flights", "pinned"))
    acme.post("publish", expected=200)
    run = acme.post(f"uploads/{upload['id']}/runs", expected=202)
    launched_with = run["manifest_sha256"]
    answer = acme.api.patch(f"uploads/{upload['id']}", json={"config": {"target_table": "later"}})
    assert answer.status_code == 200, answer.text
    assert acme.post("publish", expected=200)["sha256"] != launched_with
    done = acme.wait_for_run(run["id"])
    assert done["status"] == "success", done["error"]
    assert done["manifest_sha256"] == launched_with
    assert [asset["name"] for asset in done["assets"]] == ["flights"]
    assert done["assets"][0]["rows"] == 336776
    again = acme.post(f"uploads/{upload['id']}/runs", expected=202)
    done = acme.wait_for_run(again["id"])
    assert [asset["name"] for asset in done["assets"]] == ["later"]


def test_the_same_idempotency_key_never_runs_twice(acme: Org):
    upload = acme.row("uploads", "Only airlines into changing")
    headers = {"Idempotency-Key": "once"}
    first = acme.api.post(f"uploads/{upload['id']}/runs", headers=headers)
    second = acme.api.post(f"uploads/{upload['id']}/runs", headers=headers)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["Location"].endswith(first.json()["id"])
    other = acme.api.post("runs", json={}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    acme.wait_for_run(first.json()["id"])
