"""Passwords that change while people sign in: over real HTTP, at the same moment."""

import secrets
from collections.abc import Callable
from functools import partial

import httpx
import pytest
from sqlalchemy import text

from control_plane.access.password_resets.service import make_link_for
from control_plane.audit.service import SYSTEM
from control_plane.core.database import transaction
from tests.control_plane.access.parallel import at_once

pytestmark = pytest.mark.usefixtures("real_passwords")
PASSWORD = "correct horse battery"


class Person:
    """Somebody with an account on a served control plane."""

    def __init__(self, live_api) -> None:
        self.api = live_api
        self.email = f"{secrets.token_hex(6)}@example.com"
        body = {"email": self.email, "password": PASSWORD, "org_name": "Acme"}
        self.tokens = self.post("signup", body).json()

    def post(self, path: str, body: dict, tokens: dict | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {tokens['access_token']}"} if tokens else {}
        url = f"{self.api.url}/api/v1/auth/{path}"
        return httpx.post(url, json=body, headers=headers, timeout=60)

    def log_in(self, password: str = PASSWORD) -> httpx.Response:
        return self.post("login", {"email": self.email, "password": password})

    def change(self, new: str) -> httpx.Response:
        body = {"current_password": PASSWORD, "new_password": new}
        return self.post("password", body, self.tokens)

    def is_alive(self, tokens: dict) -> bool:
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return httpx.get(f"{self.api.url}/api/v1/auth/me", headers=headers).status_code == 200


@pytest.fixture
def person(live_api) -> Person:
    return Person(live_api)


def test_no_session_of_the_old_password_survives_its_change(person: Person):
    calls: list[Callable[[], httpx.Response]] = [person.log_in] * 6
    *logins, changed = at_once(*calls, partial(person.change, "another battery staple"))
    assert changed.status_code == 204
    started = [answer.json() for answer in logins if answer.status_code == 200]
    assert [tokens for tokens in started if person.is_alive(tokens)] == []
    assert person.is_alive(person.tokens)
    assert {answer.status_code for answer in logins} <= {200, 401}


def test_of_changes_at_once_one_wins_and_the_others_are_told(person: Person):
    wanted = [f"another battery {number}" for number in range(4)]
    answers = at_once(*(partial(person.change, new) for new in wanted))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 204
    assert set(statuses[1:]) <= {401, 422}
    (won,) = (new for new, answer in zip(wanted, answers, strict=True) if answer.is_success)
    assert person.log_in(won).status_code == 200


def test_a_link_is_redeemed_once(person: Person):
    state = person.api.application.state
    with transaction(state.session_factory) as session:
        made = make_link_for(session, state.settings, person.email, SYSTEM)
    token = made.link.partition("#token=")[2]

    def redeem(number: int) -> httpx.Response:
        body = {"token": token, "new_password": f"another battery {number}"}
        return person.post("password-resets/redeem", body)

    answers = at_once(*(partial(redeem, number) for number in range(6)))
    assert sorted(answer.status_code for answer in answers) == [204] + [422] * 5
    won = [answer.is_success for answer in answers].index(True)
    assert person.log_in(f"another battery {won}").status_code == 200
    with transaction(state.session_factory) as session:
        query = text(
            "SELECT count(*) FROM platform_audit_entries"
            " WHERE action = 'password_reset' AND actor_name = :email"
        )
        assert session.scalar(query, {"email": person.email}) == 1
