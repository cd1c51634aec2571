"""Schedules through the REST API."""

from datetime import datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from tests.factories.targets import make_transformation, make_upload


@pytest.fixture
def upload(session, member):
    return make_upload(session, member.org.id)


def post(client: TestClient, upload, **values: object):
    body = {
        "cron": "0 6 * * *",
        "timezone": "America/New_York",
        "target_type": "upload",
        "target_id": upload.id,
        "is_active": True,
        **values,
    }
    return client.post(f"/api/v1/orgs/{client.org}/schedules", json=body)


def url(client: TestClient, row: dict[str, object]) -> str:
    return f"/api/v1/orgs/{client.org}/schedules/{row['id']}"


class TestCreate:
    def test_a_schedule(self, client, session, upload):
        row = post(client, upload).json()
        assert {key: row[key] for key in ("name", "cron", "timezone", "is_active")} == {
            "name": None,
            "cron": "0 6 * * *",
            "timezone": "America/New_York",
            "is_active": True,
        }
        assert client.get(url(client, row)).json() == row
        actions = session.execute(text("SELECT action, resource_type FROM audit_entries")).all()
        assert ("create", "schedule") in [tuple(action) for action in actions]

    @pytest.mark.parametrize(
        ("values", "pointer", "words"),
        [
            ({"cron": "0 0 6 * * *"}, "/cron", "has 6 fields; a cron expression has exactly 5"),
            ({"cron": "99 * * * *"}, "/cron", "out of range"),
            ({"timezone": "Mars/Olympus"}, "/timezone", "'Mars/Olympus' is not an IANA time zone"),
            ({"target_id": 999_999}, "/target_id", "There is no upload 999999."),
            ({"target_type": "transformation"}, "/target_id", "There is no transformation"),
            ({"target_type": "pipeline"}, "/target_type", "'pipeline' is not known yet"),
            ({"target_type": "check_set"}, "/target_type", "'check_set' is not known yet"),
            ({"target_type": "table"}, "/target_type", "upload"),
            ({"interval": 5}, "/interval", "not permitted"),
        ],
    )
    def test_names_the_field(self, client, upload, values, pointer: str, words: str):
        answer = post(client, upload, **values)
        assert answer.status_code == 422
        errors = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
        assert words in errors[pointer]


class TestUpdate:
    def test_switches_off_and_keeps_the_rest(self, client, upload):
        row = post(client, upload).json()
        answer = client.patch(url(client, row), json={"is_active": False}).json()
        assert answer["is_active"] is False
        assert answer["cron"] == row["cron"]

    def test_checks_what_is_new(self, client, session, member, upload):
        row = post(client, upload).json()
        assert client.patch(url(client, row), json={"cron": "daily"}).status_code == 422
        assert client.patch(url(client, row), json={"target_id": 999_999}).status_code == 422
        model = make_transformation(session, member.org.id)
        body = {"target_type": "transformation", "target_id": model.id}
        assert client.patch(url(client, row), json=body).status_code == 200


class TestNextTicks:
    def test_in_the_schedules_zone(self, client, upload):
        row = post(client, upload).json()
        body = client.get(f"{url(client, row)}/next", params={"count": 3}).json()
        ticks = [datetime.fromisoformat(tick) for tick in body["ticks"]]
        assert [(tick.hour, tick.minute) for tick in ticks] == [(6, 0)] * 3
        assert ticks == sorted(ticks)

    def test_at_most_twenty(self, client, upload):
        row = post(client, upload).json()
        assert client.get(f"{url(client, row)}/next", params={"count": 21}).status_code == 422


class TestDelete:
    def test_and_its_target_only_after_it(self, client, upload):
        row = post(client, upload, name="Morning").json()
        target = f"/api/v1/orgs/{client.org}/uploads/{upload.id}"
        answer = client.delete(target)
        assert answer.status_code == 409
        assert f"schedule {row['id']} 'Morning'" in answer.json()["detail"]
        assert client.delete(url(client, row)).status_code == 204
        assert client.get(url(client, row)).status_code == 404
        assert client.delete(target).status_code == 204


@pytest.mark.caller(role="viewer")
def test_a_viewer_reads_only(client, upload):
    assert client.get(f"/api/v1/orgs/{client.org}/schedules").status_code == 200
    assert post(client, upload).status_code == 403
