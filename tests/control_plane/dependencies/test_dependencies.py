"""Edges through the REST API."""

import pytest
from fastapi.testclient import TestClient

from control_plane.core.database import enter_org
from tests.factories.access import make_member
from tests.factories.targets import make_transformation, make_upload


def edge(upstream, downstream) -> dict[str, object]:
    return {
        "upstream_type": kind(upstream),
        "upstream_id": upstream.id,
        "downstream_type": kind(downstream),
        "downstream_id": downstream.id,
    }


def kind(row) -> str:
    return type(row).__name__.lower()


@pytest.fixture
def upload(session, member):
    return make_upload(session, member.org.id, name="Airline")


@pytest.fixture
def models(session, member):
    return [make_transformation(session, member.org.id, name=name) for name in ("stg", "mart")]


def post(client: TestClient, body: dict[str, object]):
    return client.post(f"/api/v1/orgs/{client.org}/dependencies", json=body)


class TestCreate:
    def test_an_edge(self, client, upload, models):
        answer = post(client, edge(upload, models[0]))
        assert answer.status_code == 201
        assert answer.json()["upstream_type"] == "upload"
        url = f"/api/v1/orgs/{client.org}/dependencies/{answer.json()['id']}"
        assert client.get(url).json() == answer.json()

    def test_refuses_itself(self, client, upload):
        answer = post(client, edge(upload, upload))
        assert answer.status_code == 422
        assert "cannot depend on itself" in answer.json()["detail"]

    def test_refuses_a_second_time(self, client, upload, models):
        post(client, edge(upload, models[0]))
        answer = post(client, edge(upload, models[0]))
        assert answer.status_code == 409
        assert answer.json()["detail"] == (
            "The transformation 'stg' depends on the upload 'Airline' already."
        )

    def test_refuses_a_circle_and_shows_the_way_round(self, client, upload, models):
        stg, mart = models
        assert post(client, edge(upload, stg)).status_code == 201
        assert post(client, edge(stg, mart)).status_code == 201
        answer = post(client, edge(mart, upload))
        assert answer.status_code == 409
        assert answer.json()["code"] == "circular_dependency"
        assert answer.json()["detail"] == (
            "This edge would close a circle: upload 'Airline' → transformation 'stg' → "
            "transformation 'mart' → upload 'Airline'."
        )

    def test_refuses_a_circle_through_the_sql_of_models(self, client, session, member, upload):
        stg = make_transformation(
            session,
            member.org.id,
            name="stg_sql",
            connection_id=upload.destination_connection_id,
            sql="select * from {{ source('airline', 'flights') }}",
        )
        mart = make_transformation(
            session,
            member.org.id,
            name="mart_sql",
            connection_id=upload.destination_connection_id,
            sql="select * from {{ ref( 'stg_sql' ) }}",
        )
        answer = post(client, edge(mart, upload))
        assert answer.status_code == 409
        assert "upload 'Airline' → transformation 'stg_sql' →" in answer.json()["detail"]
        assert post(client, edge(upload, stg)).status_code == 201

    @pytest.mark.parametrize("field", ["upstream", "downstream"])
    def test_refuses_what_does_not_exist(self, client, upload, models, field: str):
        answer = post(client, {**edge(upload, models[0]), f"{field}_id": 999_999})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == f"/{field}_id"

    def test_refuses_another_orgs_target(self, client, session, vault, member, upload):
        other = make_member(session, vault)
        foreign = make_transformation(session, other.org.id)
        enter_org(session, member.org.id)
        answer = post(client, edge(upload, foreign))
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"There is no transformation {foreign.id}."

    @pytest.mark.parametrize("later", ["pipeline", "check_set"])
    def test_refuses_types_of_later(self, client, upload, later: str):
        body = {**edge(upload, upload), "downstream_type": later}
        answer = post(client, body)
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {
                "pointer": "/downstream_type",
                "detail": f"'{later}' is not known yet in this version; "
                "known: upload, transformation",
            }
        ]


class TestDelete:
    def test_an_edge_and_then_its_target(self, client, upload, models):
        row = post(client, edge(upload, models[0])).json()
        target = f"/api/v1/orgs/{client.org}/uploads/{upload.id}"
        answer = client.delete(target)
        assert answer.status_code == 409
        assert f"dependency {row['id']}" in answer.json()["detail"]
        url = f"/api/v1/orgs/{client.org}/dependencies/{row['id']}"
        assert client.delete(url).status_code == 204
        assert client.get(url).status_code == 404
        assert client.delete(target).status_code == 204
        assert post(client, edge(upload, models[0])).status_code == 422


class TestList:
    def test_at_one_end(self, client, upload, models):
        stg, mart = models
        for pair in ((upload, stg), (upload, mart), (stg, mart)):
            assert post(client, edge(*pair)).status_code == 201
        url = f"/api/v1/orgs/{client.org}/dependencies"
        into_mart = {"downstream_type": "transformation", "downstream_id": mart.id}
        assert len(client.get(url, params=into_mart).json()["data"]) == 2
        first = client.get(url, params={"limit": 2}).json()
        rest = client.get(url, params={"limit": 2, "cursor": first["next_cursor"]}).json()
        assert len(first["data"]) == 2
        assert len(rest["data"]) == 1
        assert rest["next_cursor"] is None

    def test_what_runs_before_and_after(self, client, upload, models):
        stg, mart = models
        for pair in ((upload, stg), (stg, mart)):
            assert post(client, edge(*pair)).status_code == 201
        url = f"/api/v1/orgs/{client.org}/dependencies/neighbours"
        of_stg = {"target_type": "transformation", "target_id": stg.id}
        assert client.get(url, params=of_stg).json() == {
            "upstream": [{"type": "upload", "id": upload.id}],
            "downstream": [{"type": "transformation", "id": mart.id}],
        }


@pytest.mark.caller(role="viewer")
def test_a_viewer_reads_only(client, upload, models):
    assert client.get(f"/api/v1/orgs/{client.org}/dependencies").status_code == 200
    assert post(client, edge(upload, models[0])).status_code == 403
