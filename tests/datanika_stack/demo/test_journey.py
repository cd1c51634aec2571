"""How the demo's owner gets in, against a served control plane."""

import secrets
from contextlib import closing
from typing import cast

import pytest
from sqlalchemy import text

from control_plane.core.database import transaction
from datanika_stack.api_client import ApiClient
from datanika_stack.demo.display import Display
from datanika_stack.demo.journey import Journey, Person
from tests.fixtures.control_plane import LiveApi

PASSWORD = "correct horse battery"


@pytest.fixture
def operator(live_api: LiveApi) -> Person:
    with closing(live_api.sign_up()) as client:
        email = client.get("/auth/me").json()["user"]["email"]
    with transaction(live_api.application.state.session_factory) as session:
        query = "UPDATE users SET is_platform_operator = true WHERE email = :email"
        session.execute(text(query), {"email": email})
    return Person(email, PASSWORD)


def test_the_owner_goes_on_as_an_operator_and_comes_back_as_one(live_api, operator: Person):
    owner = Person(f"{secrets.token_hex(6)}@example.com", PASSWORD)
    orgs: list[str] = []
    for _ in ("first", "again"):
        with ApiClient(live_api.url) as client:
            journey = Journey(client, cast("Display", None), owner)
            journey.sign_up()
            journey.make_owner_an_operator(operator)
            assert client.get("/auth/me")["user"]["is_platform_operator"]
            assert client.get("/system/operators")["data"]
            assert client.get(f"/orgs/{journey.org}")["slug"] == journey.org
            orgs.append(journey.org)
    assert orgs[0] == orgs[1]
