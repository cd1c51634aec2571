"""An organization that is deleted while others work in it, over real HTTP."""

import secrets
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from sqlalchemy import text

from control_plane.core.database import transaction
from tests.control_plane.access.parallel import at_once
from tests.fixtures.control_plane import LiveApi

ROUNDS = 4


@pytest.fixture
def owner(live_api: LiveApi) -> Iterator[httpx.Client]:
    with closing(live_api.sign_up()) as client:
        yield client


def delete(owner: httpx.Client, **query: object) -> httpx.Response:
    return owner.delete(f"/orgs/{owner.org}", params={"confirm": owner.org} | query)


def rows(live_api: LiveApi, owner: httpx.Client, statement: str) -> list[tuple]:
    with transaction(live_api.application.state.session_factory, owner.org_id) as session:
        return [tuple(row) for row in session.execute(text(statement))]


def connection() -> dict:
    return {
        "name": secrets.token_hex(4),
        "connector": "postgres",
        "direction": "source",
        "config": {
            "host": "db.example.com",
            "database": "shop",
            "user": "reader",
            "password": "a password",
        },
    }


def test_two_deletions_are_one(live_api, owner):
    answers = at_once(*[lambda: delete(owner)] * 4)
    assert sorted(a.status_code for a in answers) == [204, 404, 404, 404]
    found = rows(
        live_api,
        owner,
        "SELECT count(*) FROM audit_entries WHERE action = 'delete'"
        " AND resource_type = 'organization'",
    )
    assert found == [(1,)]


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_no_secret_survives_that_is_stored_meanwhile(live_api, owner, round_number):
    path = f"/orgs/{owner.org}/connections"
    first = owner.post(path, json=connection()).json()["id"]
    change = {"config": {"password": "another"}}
    answers = at_once(
        lambda: delete(owner, destroy_keys=True),
        *[lambda: owner.post(path, json=connection())] * 3,
        *[lambda: owner.patch(f"{path}/{first}", json=change)] * 2,
    )
    assert answers[0].status_code == 204
    # Before the deletion it works, after it there is no such org, in between no key.
    assert {a.status_code for a in answers[1:]} <= {200, 201, 404, 409}, [a.text for a in answers]
    assert rows(live_api, owner, "SELECT id FROM data_keys") == []
    assert rows(live_api, owner, "SELECT id FROM connections WHERE secrets IS NOT NULL") == []


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_no_key_survives_that_is_made_meanwhile(live_api, owner, round_number):
    body = {"name": "key", "scopes": ["orgs:read"]}
    answers = at_once(
        lambda: delete(owner),
        *[lambda: owner.post(f"/orgs/{owner.org}/api-keys", json=body)] * 4,
    )
    assert answers[0].status_code == 204
    factory = live_api.application.state.session_factory
    email = owner.get("/auth/me").json()["user"]["email"]
    with transaction(factory) as session:
        session.execute(
            text("UPDATE users SET is_platform_operator = true WHERE email = :email"),
            {"email": email},
        )
    restored = owner.post(f"/system/orgs/{owner.org}/restore")
    with transaction(factory) as session:
        session.execute(
            text("UPDATE users SET is_platform_operator = false WHERE email = :email"),
            {"email": email},
        )
    assert restored.status_code == 200, restored.text
    made = [a.json()["key"] for a in answers[1:] if a.status_code == 201]
    for key in made:
        url = f"{live_api.url}/api/v1/orgs/{owner.org}"
        assert httpx.get(url, headers={"X-API-Key": key}).status_code == 401
