"""Connections through the REST API: secrets go in and never come out."""

from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.connections.models import Connection
from control_plane.connections.service import ConnectionService
from control_plane.core.database import enter_org
from control_plane.core.errors import Sealed
from control_plane.core.tasks import TaskRunner
from tests.factories.access import Member, make_member

CONFIG = {"host": "db.example.com", "database": "shop", "user": "etl", "password": "canary-1"}


def create(client: TestClient, **values: object):
    body = {
        "name": "Web shop",
        "connector": "postgres",
        "direction": "source",
        "config": CONFIG,
        **values,
    }
    return client.post(f"/api/v1/orgs/{client.org}/connections", json=body)


class TestCreate:
    def test_shows_which_secrets_are_set_and_no_value(self, client: TestClient, session: Session):
        answer = create(client)
        assert answer.status_code == 201
        body = answer.json()
        assert body["slug"] == "web_shop"
        assert body["secrets_set"] == ["password"]
        assert body["config"] == {
            "host": "db.example.com",
            "port": 5432,
            "database": "shop",
            "user": "etl",
            "sslmode": "prefer",
        }
        rows = session.execute(text("SELECT c::text FROM connections c")).scalars().all()
        audit = session.execute(text("SELECT a::text FROM audit_entries a")).scalars().all()
        assert "canary-1" not in answer.text + "".join(rows) + "".join(audit)

    @pytest.mark.parametrize(
        ("values", "pointer", "words"),
        [
            ({"connector": "postgre"}, "/connector", "Unknown connector 'postgre'; known: "),
            ({"connector": "managed_warehouse"}, "/connector", "Unknown connector"),
            ({"direction": "sideways"}, "/direction", "source"),
            ({"config": {**CONFIG, "port": 70000}}, "/config/port", "65535"),
            ({"config": {**CONFIG, "pasword": "x"}}, "/config/pasword", "not permitted"),
            ({"config": {"host": "x"}}, "/config/database", "required"),
            ({"name": ""}, "/name", "at least 1"),
        ],
    )
    def test_names_the_field_that_is_wrong(self, client, values, pointer: str, words: str):
        answer = create(client, **values)
        assert answer.status_code == 422
        errors = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
        assert words in errors[pointer]
        assert "canary-1" not in answer.text

    def test_refuses_a_taken_name_and_frees_it_when_deleted(self, client: TestClient):
        first = create(client).json()
        assert create(client).status_code == 409
        assert client.delete(url(client, first)).status_code == 204
        second = create(client).json()
        assert second["slug"] == "web_shop_2", "slugs are in asset keys and never reused"


class TestUpdate:
    def test_keeps_what_is_left_out_also_the_secret(self, client, session, member, vault):
        row = create(client).json()
        answer = client.patch(url(client, row), json={"config": {"database": "store"}})
        assert answer.json()["config"]["database"] == "store"
        assert secrets_of(session, member, vault, row["id"]) == {"password": "canary-1"}

    @pytest.mark.parametrize(
        "change", [{"host": "evil.example"}, {"port": 1}, {"user": "x"}, {"sslmode": "disable"}]
    )
    def test_a_stored_secret_is_never_sent_elsewhere(
        self, client, session, member, vault, change: dict
    ):
        row = create(client).json()
        answer = client.patch(url(client, row), json={"config": change})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/config/password"
        assert next(iter(change)) in error["detail"]
        assert client.get(url(client, row)).json()["config"] == row["config"]
        again = client.patch(url(client, row), json={"config": {**change, "password": "new"}})
        assert again.status_code == 200
        assert secrets_of(session, member, vault, row["id"]) == {"password": "new"}

    def test_refuses_a_taken_name(self, client):
        create(client, name="a")
        row = create(client, name="b").json()
        answer = client.patch(url(client, row), json={"name": "a"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/name")
        assert client.get(url(client, row)).json()["name"] == "b"

    def test_replaces_a_secret(self, client, session, member, vault):
        row = create(client).json()
        client.patch(url(client, row), json={"config": {"password": "canary-2"}})
        assert secrets_of(session, member, vault, row["id"]) == {"password": "canary-2"}


def test_a_moved_ciphertext_does_not_decrypt(client, session: Session, member: Member, vault):
    first = create(client, name="a").json()
    second = create(client, name="b").json()
    enter_org(session, member.org.id)
    session.execute(
        text(
            "UPDATE connections SET secrets = (SELECT secrets FROM connections WHERE id = :a)"
            " WHERE id = :b"
        ),
        {"a": first["id"], "b": second["id"]},
    )
    session.expire_all()
    with pytest.raises(Sealed):
        secrets_of(session, member, vault, second["id"])


def test_foreign_connections_are_not_found(client: TestClient, session: Session, vault):
    foreign = make_member(session, vault)
    row = Connection(
        org_id=foreign.org.id,
        slug="x",
        name="x",
        connector="postgres",
        direction="both",
        config={},
    )
    session.add(row)
    session.commit()
    for method in ("GET", "DELETE"):
        missing = client.request(method, f"/api/v1/orgs/{client.org}/connections/999999")
        answer = client.request(method, f"/api/v1/orgs/{client.org}/connections/{row.id}")
        assert (answer.status_code, missing.status_code) == (404, 404)


def test_lists_in_pages(client: TestClient):
    for number in range(5):
        create(client, name=f"db {number}")
    names, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"/api/v1/orgs/{client.org}/connections", params=params).json()
        names += [row["name"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == [f"db {number}" for number in range(5)]
    answer = client.get(f"/api/v1/orgs/{client.org}/connections", params={"cursor": "bad!"})
    assert answer.status_code == 422


def url(client: TestClient, row: dict) -> str:
    return f"/api/v1/orgs/{client.org}/connections/{row['id']}"


def secrets_of(session: Session, member: Member, vault, connection_id: int) -> dict[str, str]:
    enter_org(session, member.org.id)
    service = ConnectionService.of(session, member.caller, vault)
    return service.secrets_of(service.get(connection_id))


@dataclass(frozen=True)
class Answering(TaskRunner):
    """A runner whose task has answered: the value is the task's own word, and may be forged."""

    value: Any = None

    def run(self, *_: object, **__: object) -> Any:
        return self.value


class TestWhatATestAnswers:
    def ask(self, client: TestClient, value: object):
        url = f"/api/v1/orgs/{client.org}/connections/{create(client).json()['id']}/test"
        real = client.app.state.task_runner
        client.app.state.task_runner = Answering(real.hosts, real.redeem, value=value)
        try:
            return client.post(url)
        finally:
            client.app.state.task_runner = real

    @pytest.mark.parametrize(
        "value",
        [
            None,
            [],
            "ok",
            {},
            {"duration_ms": "5"},
            {"duration_ms": True},
            {"duration_ms": -1},
            {"duration_ms": 1 << 80},
            {"duration_ms": 5, "server_version": {"a": 1}},
            {"duration_ms": 5, "server_version": "x" * 1000},
        ],
    )
    def test_a_forged_answer_is_refused(self, client: TestClient, value: object):
        answer = self.ask(client, value)
        assert answer.status_code == 502
        assert answer.json()["detail"] == (
            "The task 'connection_test' answered in a form that is not known."
        )

    def test_a_proper_one_is_shown(self, client: TestClient):
        answer = self.ask(client, {"duration_ms": 5, "server_version": "PostgreSQL 18", "x": "y"})
        assert answer.status_code == 200
        assert answer.json()["server_version"] == "PostgreSQL 18"
        assert "x" not in answer.json()
