"""Freshness policies through the REST API."""

import pytest
from fastapi.testclient import TestClient

from tests.factories.targets import make_transformation, make_upload


@pytest.fixture
def upload(session, member):
    return make_upload(session, member.org.id, name="Airline")


def post(client: TestClient, upload, **values: object):
    body = {
        "target_type": "upload",
        "target_id": upload.id,
        "table": "flights",
        "max_age_seconds": 3600,
        "severity": "warn",
    }
    body = {key: value for key, value in {**body, **values}.items() if value is not None}
    return client.post(f"/api/v1/orgs/{client.org}/freshness-policies", json=body)


def url(client: TestClient, row: dict[str, object]) -> str:
    return f"/api/v1/orgs/{client.org}/freshness-policies/{row['id']}"


class TestCreate:
    def test_a_maximum_age(self, client, upload):
        row = post(client, upload).json()
        assert (row["table"], row["max_age_seconds"], row["deadline_cron"]) == (
            "flights",
            3600,
            None,
        )
        assert client.get(url(client, row)).json() == row

    def test_a_deadline_for_every_table(self, client, upload):
        values = {"table": None, "max_age_seconds": None, "deadline_cron": "0 8 * * mon-fri"}
        row = post(client, upload, **values, timezone="Europe/Berlin").json()
        assert (row["table"], row["deadline_cron"], row["timezone"]) == (
            None,
            "0 8 * * mon-fri",
            "Europe/Berlin",
        )

    def test_a_model(self, client, session, member, upload):
        model = make_transformation(session, member.org.id)
        values = {"target_type": "transformation", "target_id": model.id, "table": None}
        assert post(client, upload, **values).status_code == 201

    def test_the_sources_name_of_a_table(self, client, session, member, upload):
        upload.config = {**upload.config, "table_names": ["planes"]}
        session.commit()
        assert post(client, upload, table="Planes").json()["table"] == "planes"

    @pytest.mark.parametrize(
        ("values", "pointer", "words"),
        [
            ({"max_age_seconds": 59}, "/max_age_seconds", "greater than or equal to 60"),
            ({"max_age_seconds": None}, "/max_age_seconds", "exactly one"),
            ({"deadline_cron": "0 8 * * *"}, "/deadline_cron", "exactly one"),
            (
                {"max_age_seconds": None, "deadline_cron": "8 o'clock"},
                "/deadline_cron",
                "exactly 5",
            ),
            ({"table": "trains"}, "/table", "has no table 'trains'; it has: flights, planes"),
            ({"target_id": 999_999}, "/target_id", "There is no upload 999999."),
            ({"target_type": "pipeline"}, "/target_type", "not known yet"),
            ({"severity": "fatal"}, "/severity", "'error'"),
            ({"timezone": "Nowhere"}, "/timezone", "IANA"),
        ],
    )
    def test_names_the_field(self, client, upload, values, pointer: str, words: str):
        answer = post(client, upload, **values)
        assert answer.status_code == 422
        errors = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
        assert words in errors[pointer]

    def test_a_model_has_no_tables(self, client, session, member, upload):
        model = make_transformation(session, member.org.id)
        answer = post(client, upload, target_type="transformation", target_id=model.id)
        assert answer.json()["errors"][0]["pointer"] == "/table"

    @pytest.mark.parametrize("table", ["flights", None])
    def test_one_policy_for_each(self, client, upload, table: str | None):
        assert post(client, upload, table=table).status_code == 201
        answer = post(client, upload, table=table)
        assert answer.status_code == 409
        assert "upload 'Airline' has a freshness policy already" in answer.json()["detail"]


class TestUpdate:
    def test_one_limit_takes_the_place_of_the_other(self, client, upload):
        row = post(client, upload).json()
        answer = client.patch(url(client, row), json={"deadline_cron": "@daily"}).json()
        assert (answer["max_age_seconds"], answer["deadline_cron"]) == (None, "@daily")
        answer = client.patch(url(client, row), json={"severity": "error"}).json()
        assert (answer["deadline_cron"], answer["severity"]) == ("@daily", "error")

    def test_refuses_both(self, client, upload):
        row = post(client, upload).json()
        body = {"max_age_seconds": 60, "deadline_cron": "@daily"}
        assert client.patch(url(client, row), json=body).status_code == 422


class TestDelete:
    def test_and_its_target_only_after_it(self, client, upload):
        row = post(client, upload).json()
        target = f"/api/v1/orgs/{client.org}/uploads/{upload.id}"
        assert f"freshness policy {row['id']}" in client.delete(target).json()["detail"]
        assert client.delete(url(client, row)).status_code == 204
        assert client.delete(target).status_code == 204
        assert client.get(f"/api/v1/orgs/{client.org}/freshness-policies").json()["data"] == []
