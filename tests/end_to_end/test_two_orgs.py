"""A second org sees and touches nothing of the first."""

import psycopg
import pytest
from sqlalchemy import make_url

from tests.end_to_end.conftest import Org, RunningStack, wait_until


@pytest.fixture(scope="module")
def globex(stack: RunningStack) -> Org:
    org = stack.sign_up("Globex")
    wait_until(lambda: org.get("warehouse"), lambda w: w["state"] == "ready", 30)
    return org


RESOURCES = ["connections", "uploads", "transformations", "dependencies", "schedules", "runs"]


@pytest.mark.parametrize("resource", [*RESOURCES, "freshness-policies", "api-keys"])
def test_neither_lists_nor_opens_rows(acme: Org, globex: Org, resource: str):
    foreign = {row["id"] for row in acme.get(resource)["data"]}
    own = {row["id"] for row in globex.get(resource)["data"]}
    assert not foreign & own
    for row_id in foreign:
        for method in ("GET", "DELETE", "PATCH"):
            answer = globex.api.request(
                method, f"{resource}/{row_id}", json={} if method == "PATCH" else None
            )
            assert answer.status_code in {404, 405}, answer.text
        answer = globex.api.get(f"../{acme.slug}/{resource}")
        assert answer.status_code == 404


def test_cannot_launch_use_or_follow(acme: Org, globex: Org):
    upload = acme.row("uploads", "Airline")
    run = acme.first_run()
    assert globex.api.post(f"uploads/{upload['id']}/runs").status_code in {404, 409}
    assert globex.api.get(f"runs/{run['id']}/logs").status_code == 404
    assert globex.api.post(f"runs/{run['id']}/cancel").status_code == 404
    answer = globex.api.post(
        "uploads",
        json={
            "name": "theft",
            "source_connection_id": upload["source_connection_id"],
            "destination_connection_id": globex.get("warehouse")["connection_id"],
            "config": {"mode": "single_table", "table": "airlines"},
        },
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/source_connection_id"


def test_warehouse_logins_open_only_their_own_database(stack: RunningStack, acme: Org, globex: Org):
    login = globex.post("warehouse/credentials")
    own = make_url(login["url"])
    with psycopg.connect(login["url"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    foreign = acme.get("warehouse")["database"]
    for database in (foreign, "datanika", "dagster", "postgres", "template1"):
        url = own.set(database=database).render_as_string(hide_password=False)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)


def test_models_cannot_reach_into_another_warehouse(acme: Org, globex: Org):
    foreign = acme.get("warehouse")["database"]
    answer = globex.api.post(
        "transformations/preview",
        json={"sql": f"select * from {foreign}.airline.flights", "limit": 1},
    )
    assert answer.status_code == 422
    assert "flights" in answer.text or "cross-database" in answer.text


LOCATIONS = """
{
  workspaceOrError { ... on Workspace { locationEntries { name } } }
  runsFeedOrError(limit: 9, view: RUNS) { ... on RunsFeedConnection { results { id } } }
}
"""


def test_a_member_of_an_org_sees_their_own_alone_in_the_dagster_ui(
    stack: RunningStack, acme: Org, globex: Org
):
    assert globex.api.get(f"{stack.demo['dagster_url']}/").status_code == 200
    for org in (acme, globex):
        # The demo's owner is a platform operator, who sees all.
        answer = org.api.post(f"{stack.demo['dagster_url']}/graphql", json={"query": LOCATIONS})
        assert answer.status_code == 200, answer.text
        seen = answer.json()["data"]
        names = {entry["name"] for entry in seen["workspaceOrError"]["locationEntries"]}
        assert ("org_acme" in names) == (org is acme), names
        assert bool(seen["runsFeedOrError"]["results"]) == (org is acme)
