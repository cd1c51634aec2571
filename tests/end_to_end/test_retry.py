"""A run that failed is done again from where it failed, in the name of who asked, and once."""

import secrets

import pytest
from sqlalchemy import make_url

from tests.end_to_end.conftest import Org, RunningStack
from tests.end_to_end.test_errors import CANARY, connection_body
from tests.end_to_end.test_publishing import upload_body


@pytest.fixture(scope="module")
def failed(stack: RunningStack, acme: Org) -> dict:
    """A run of two uploads, one of which could not log in; by now it could."""
    password = make_url(stack.demo["source_url"]).password
    body = connection_body(stack, password=password) | {"name": "away for a while"}
    source = acme.post("connections", **body)
    healthy = acme.post("uploads", **upload_body(acme, "airlines", "healthy"))
    ailing = acme.post(
        "uploads",
        **upload_body(acme, "airports", "ailing") | {"source_connection_id": source["id"]},
    )
    acme.post("publish", expected=200)
    path = f"connections/{source['id']}"
    assert acme.api.patch(path, json={"config": {"password": CANARY}}).status_code == 200
    targets = [{"type": "upload", "id": one["id"]} for one in (healthy, ailing)]
    run = acme.wait_for_run(acme.post("runs", expected=202, targets=targets)["id"])
    assert run["status"] == "failed"
    assert acme.api.patch(path, json={"config": {"password": password}}).status_code == 200
    return run


def test_only_what_failed_is_done_again(acme: Org, failed: dict):
    key = {"Idempotency-Key": secrets.token_hex(8)}
    again = acme.api.post(f"runs/{failed['id']}/retry", headers=key)
    assert again.status_code == 202, again.text
    retry = acme.wait_for_run(again.json()["id"])
    assert (retry["status"], retry["retry_of"]) == ("success", failed["id"]), retry["error"]
    assert [asset["name"] for asset in retry["assets"]] == ["airports"]
    assert (retry["trigger"], retry["actor"]) == ("api", failed["actor"])
    assert retry["targets"] == failed["targets"]
    once = acme.api.post(f"runs/{failed['id']}/retry", headers=key)
    assert once.json()["id"] == retry["id"], "the same key leads to one run"
    recorded = acme.get("audit", action="run", resource_id=retry["id"])["data"]
    assert [entry["actor_name"] for entry in recorded] == [failed["actor"]]


def test_all_of_it_on_demand(acme: Org, failed: dict):
    again = acme.post(f"runs/{failed['id']}/retry", expected=202, from_failure=False)
    retry = acme.wait_for_run(again["id"])
    assert retry["status"] == "success", retry["error"]
    assert sorted(asset["name"] for asset in retry["assets"]) == ["airlines", "airports"]
    refused = acme.api.post(f"runs/{retry['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_failed")
