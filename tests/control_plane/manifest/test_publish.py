"""Publishing: rows become an immutable manifest, or are refused by name."""

from contextlib import closing

import pytest

from control_plane.access.sessions.tokens import ServiceRole
from datanika_manifest import code_location
from tests.control_plane.source_database import SourceDatabase, created


@pytest.fixture(scope="module")
def database(source_cluster) -> SourceDatabase:
    made = SourceDatabase(source_cluster)
    made.create()
    return made


@pytest.fixture
def api(live_api):
    with closing(live_api.sign_up()) as client:
        yield client


@pytest.fixture
def warehouse(api, database):
    body = database.connection(name="Own warehouse", direction="both")
    return created(api, "connections", body)


@pytest.fixture
def upload(api, warehouse):
    body = {
        "name": "Airline",
        "source_connection_id": warehouse["id"],
        "destination_connection_id": warehouse["id"],
        "config": {"mode": "full_database", "target_schema": "airline"},
    }
    return created(api, "uploads", body)


@pytest.fixture
def model(api, warehouse, upload):
    body = {
        "name": "stg_flights",
        "connection_id": warehouse["id"],
        "schema": "staging",
        "sql": "select flight_id, carrier from {{ source('airline', 'flights') }}",
        "materialization": "view",
        "tests": [{"type": "not_null", "column": "flight_id", "severity": "warn"}],
    }
    return created(api, "transformations", body)


def publish(api):
    return api.post(f"/orgs/{api.org}/publish")


def published(api, live_api) -> code_location.CodeLocation:
    answer = publish(api)
    assert answer.status_code == 200, answer.text
    sha256 = answer.json()["sha256"]
    token = live_api.application.state.signer.service_token(ServiceRole.CODE_LOCATION, api.org)
    text = api.get(
        f"{live_api.url}/internal/v1/orgs/{api.org}/manifests/{sha256}",
        headers={"Authorization": f"Bearer {token}"},
    ).json()["manifest"]
    return code_location.read(text, sha256=sha256, org=api.org)


class TestCompile:
    def test_holds_what_dagster_needs(self, api, live_api, database, upload, model):
        created(
            api,
            "schedules",
            {"cron": "0 6 * * *", "target_type": "transformation", "target_id": model["id"]},
        )
        policy = {"target_type": "upload", "target_id": upload["id"], "max_age_seconds": 3600}
        created(api, "freshness-policies", {**policy, "severity": "error"})
        created(
            api,
            "freshness-policies",
            {**policy, "table": "flights", "max_age_seconds": 60, "severity": "warn"},
        )
        location = published(api, live_api)
        key = (api.org, "own_warehouse", "airline", "flights")
        assert key in [table.asset_key for table in location.uploads[0].tables]
        (node,) = location.dbt_projects[0].nodes
        assert node.asset_key == (api.org, "own_warehouse", "staging", "stg_flights")
        assert node.depends_on == (key,)
        assert [test.severity for test in node.tests] == ["warn"]
        (schedule,) = location.schedules
        assert schedule.asset_keys == (node.asset_key,)
        ages = {p.asset_key[3]: p.max_age_seconds for p in location.freshness_policies}
        assert ages["flights"] == 60, "a policy of one table goes before one of the upload"
        assert ages["planes"] == 3600
        assert database.password not in location.canonical_json()

    def test_a_whole_database_follows_its_source(self, api, live_api, database, upload):
        def tables() -> set[str]:
            return {t.target_table for t in published(api, live_api).uploads[0].tables}

        before = tables()
        database.execute("create table gates (gate text)")
        try:
            assert tables() - before == {"gates"}
        finally:
            database.execute("drop table gates")

    def test_explicit_dependencies_become_lineage(self, api, live_api, warehouse, model):
        second = created(
            api,
            "transformations",
            {
                "name": "later",
                "connection_id": warehouse["id"],
                "schema": "staging",
                "sql": "select 1 as one",
                "materialization": "view",
            },
        )
        created(
            api,
            "dependencies",
            {
                "upstream_type": "transformation",
                "upstream_id": model["id"],
                "downstream_type": "transformation",
                "downstream_id": second["id"],
            },
        )
        nodes = {n.name: n for n in published(api, live_api).dbt_projects[0].nodes}
        assert nodes["later"].depends_on == (nodes["stg_flights"].asset_key,)


class TestPublish:
    def test_is_content_addressed(self, api, upload):
        first, second = publish(api).json(), publish(api).json()
        assert first["changed"]
        assert not second["changed"]
        assert first["sha256"] == second["sha256"]
        assert first["published_at"] == second["published_at"]

    def test_goes_back_to_an_earlier_manifest(self, api, upload):
        url = f"/orgs/{api.org}/uploads/{upload['id']}"
        first = publish(api).json()["sha256"]
        api.patch(url, json={"config": {"batch_size": 5}})
        assert publish(api).json()["sha256"] != first
        api.patch(url, json={"config": {"batch_size": upload["config"]["batch_size"]}})
        again = publish(api).json()
        assert (again["sha256"], again["changed"]) == (first, True)

    def test_a_source_that_is_gone_is_named_and_changes_nothing(
        self, api, database, upload, warehouse
    ):
        before = publish(api).json()["sha256"]
        url = f"/orgs/{api.org}/connections/{warehouse['id']}"
        port = warehouse["config"]["port"]
        password = {"password": database.password}
        assert api.patch(url, json={"config": {"port": 1, **password}}).status_code == 200
        answer = publish(api)
        assert answer.status_code == 502
        assert "Own warehouse" in answer.json()["detail"]
        assert "connection.refused" in answer.json()["detail"]
        api.patch(url, json={"config": {"port": port, **password}})
        after = publish(api).json()
        assert (after["sha256"], after["changed"]) == (before, False)

    def test_is_in_the_audit_log(self, api, upload):
        sha256 = publish(api).json()["sha256"]
        entries = api.get(f"/orgs/{api.org}/audit", params={"action": "publish"}).json()["data"]
        assert [entry["resource_id"] for entry in entries] == [sha256]


class TestHandingOut:
    def test_only_the_orgs_own_readers_get_it(self, api, live_api, upload):
        sha256 = publish(api).json()["sha256"]
        signer = live_api.application.state.signer
        url = f"{live_api.url}/internal/v1/orgs/{api.org}/manifests/{sha256}"

        def status(token: str) -> int:
            return api.get(url, headers={"Authorization": f"Bearer {token}"}).status_code

        assert status(signer.service_token(ServiceRole.CODE_LOCATION, api.org)) == 200
        assert status(signer.service_token(ServiceRole.CODE_LOCATION, "other")) == 403
        assert status(signer.service_token(ServiceRole.LAUNCHER)) == 403
        assert status(api.headers["Authorization"].split()[1]) == 401
        with closing(live_api.sign_up()) as other:
            foreign = signer.service_token(ServiceRole.CODE_LOCATION, other.org)
            answer = api.get(
                f"{live_api.url}/internal/v1/orgs/{other.org}/manifests/{sha256}",
                headers={"Authorization": f"Bearer {foreign}"},
            )
            assert answer.status_code == 404, "a hash of another org's is not there"

    def test_api_keys_need_the_scope(self, api, live_api, upload):
        publish(api)
        url = f"{live_api.url}/internal/v1/orgs/{api.org}/manifest"
        for scope, expected in (("manifest:read", 200), ("runs:read", 403)):
            key = created(api, "api-keys", {"name": scope, "scopes": [scope]})["key"]
            answer = api.get(url, headers={"X-API-Key": key})
            assert answer.status_code == expected

    def test_the_supervisor_learns_who_has_published(self, api, live_api, upload):
        token = live_api.application.state.signer.service_token(ServiceRole.SUPERVISOR)
        url = f"{live_api.url}/internal/v1/locations"

        def locations() -> dict[str, str]:
            answer = api.get(url, headers={"Authorization": f"Bearer {token}"})
            return {entry["org"]: entry["sha256"] for entry in answer.json()["locations"]}

        assert api.org not in locations()
        sha256 = publish(api).json()["sha256"]
        assert locations()[api.org] == sha256
