"""What needs a source, dbt or Dagster to succeed is on record once, too."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.control_plane.audit.expected import ENTRIES, ORG
from tests.control_plane.audit.test_completeness import CHANGING, SUCCEEDING
from tests.control_plane.flaky_dagster import dagster_client, factory, flaky
from tests.control_plane.runs.test_launching import launcher
from tests.control_plane.source_database import SourceDatabase, created

__all__ = ["dagster_client", "factory", "flaky", "launcher"]
TRANSFORMATION = f"{ORG}/transformations/{{transformation_id}}"
# Tested here, or with a real stack: tests/end_to_end.
LIVE = {
    f"POST {ORG}/transformations",
    f"PATCH {TRANSFORMATION}",
    f"POST {TRANSFORMATION}/restore",
    f"POST {ORG}/runs",
    f"POST {ORG}/uploads/{{upload_id}}/runs",
    f"POST {TRANSFORMATION}/runs",
    f"POST {ORG}/runs/{{run_id}}/retry",
    f"POST {ORG}/runs/{{run_id}}/cancel",
    f"POST {ORG}/warehouse/credentials",
}


def test_whatever_the_matrix_refuses_is_tested_live():
    assert {name for name in ENTRIES if name in CHANGING} - set(SUCCEEDING) == LIVE


@pytest.fixture(scope="module")
def api(live_api) -> Iterator:
    with closing(live_api.sign_up()) as client:
        yield client


@pytest.fixture(scope="module")
def connection(api, source_cluster):
    database = SourceDatabase(source_cluster)
    database.create()
    return created(api, "connections", database.connection(name="Both", direction="both"))


def entries(api, **filters) -> list[tuple[str, str, str]]:
    found = api.get(f"/orgs/{api.org}/audit", params={"limit": 100, **filters}).json()["data"]
    return [(one["action"], one["actor_kind"], one["request_id"]) for one in found][::-1]


def test_a_transformations_life(api, connection):
    url = f"/orgs/{api.org}/transformations"
    body = {
        "name": "one",
        "connection_id": connection["id"],
        "schema": "marts",
        "sql": "select 1 as a",
    }
    refused = api.post(url, json={**body, "sql": "selct nothing"})
    assert refused.status_code == 422, refused.text
    made = api.post(url, json=body)
    one = f"{url}/{made.json()['id']}"
    changed = api.patch(one, json={"sql": "select 2 as a"})
    deleted = api.delete(one)
    restored = api.post(f"{one}/restore")
    answers = {"create": made, "update": changed, "delete": deleted, "restore": restored}
    assert all(answer.is_success for answer in answers.values()), restored.text
    assert entries(api, resource_type="transformation") == [
        (action, "user", answer.headers["X-Trace-Id"]) for action, answer in answers.items()
    ]


def test_looking_leaves_the_access_to_secrets(api, connection):
    before = len(entries(api))
    url = f"/orgs/{api.org}/connections/{connection['id']}"
    assert api.post(f"{url}/test").json()["ok"]
    assert api.post(f"{url}/metadata/sync").is_success
    new = entries(api)[before:]
    assert [(action, kind) for action, kind, _ in new] == [("secret_access", "user")] * 2


def test_a_launch(client, launcher, member):
    run = launcher.launch([], None)
    log = client.get(f"/api/v1/orgs/{client.org}/audit", params={"action": "run"}).json()["data"]
    assert [(one["resource_id"], one["actor_id"]) for one in log] == [(run.id, member.user.id)]
    assert log[0]["new_values"] == {"trigger": "api", "targets": []}
