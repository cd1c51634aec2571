"""Refresh tokens: rotation, reuse, and many requests with one token at the same moment."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import httpx
import jwt
import pytest
from sqlalchemy import text

from control_plane.access.sessions.service import MAXIMUM_LIFETIME, PARALLEL_RENEWAL
from control_plane.core.database import transaction
from tests.control_plane.access.conftest import Door
from tests.control_plane.access.parallel import at_once

REFRESH = "/api/v1/auth/refresh"


def renew(door: Door, refresh_token: str, client=None):
    body = {"refresh_token": refresh_token}
    return (client or door.client).post(REFRESH, json=body)


def age(door: Door, by: timedelta) -> None:
    """Makes every use of a refresh token longer ago."""
    with transaction(door.factory) as session:
        session.execute(
            text("UPDATE refresh_tokens SET used_at = used_at - :by WHERE used_at IS NOT NULL"),
            {"by": by},
        )


def is_alive(door: Door, tokens: dict) -> bool:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return door.client.get("/api/v1/auth/me", headers=headers).status_code == 200


class TestReuse:
    def test_later_ends_the_whole_session(self, door: Door):
        first = door.sign_up()
        second = renew(door, first["refresh_token"]).json()
        age(door, PARALLEL_RENEWAL + timedelta(seconds=1))
        assert renew(door, first["refresh_token"]).status_code == 401
        assert not is_alive(door, second)
        assert renew(door, second["refresh_token"]).status_code == 401

    def test_by_another_client_ends_it_at_once(self, door: Door):
        first = door.sign_up()
        second = renew(door, first["refresh_token"]).json()
        thief = door.from_elsewhere()
        assert renew(door, first["refresh_token"], thief).status_code == 401
        assert not is_alive(door, second)

    def test_by_another_program_of_the_same_address_ends_it_at_once(self, door: Door):
        first = door.sign_up()
        second = renew(door, first["refresh_token"]).json()
        answer = door.client.post(
            REFRESH,
            json={"refresh_token": first["refresh_token"]},
            headers={"User-Agent": "another"},
        )
        assert answer.status_code == 401
        assert not is_alive(door, second)

    def test_of_a_thief_who_was_first_ends_the_thiefs_session(self, door: Door):
        first = door.sign_up()
        stolen = renew(door, first["refresh_token"], door.from_elsewhere()).json()
        assert renew(door, first["refresh_token"]).status_code == 401
        assert not is_alive(door, stolen)

    def test_by_a_parallel_tab_is_refused_and_ends_nothing(self, door: Door):
        first = door.sign_up()
        second = renew(door, first["refresh_token"]).json()
        assert renew(door, first["refresh_token"]).status_code == 401
        assert is_alive(door, second)
        assert renew(door, second["refresh_token"]).status_code == 200

    def test_is_recorded_once(self, door: Door):
        first = door.sign_up()
        renew(door, first["refresh_token"])
        for _ in range(3):
            renew(door, first["refresh_token"], door.from_elsewhere())
        for table, org_id in (
            ("platform_audit_entries", None),
            ("audit_entries", first["org"]["id"]),
        ):
            entries = door.entries(table, first["email"], org_id)
            found = [entry for entry in entries if entry[0] == "refresh_token_reuse"]
            assert len(found) == 1
            assert found[0][3] is None, "nobody knows who it was"


class TestParallelRequests:
    @pytest.fixture
    def person(self, live_api) -> Iterator[httpx.Client]:
        with closing(live_api.sign_up()) as client:
            yield client

    def test_ten_at_once_renew_once_and_end_nothing(self, live_api, person: httpx.Client):
        tokens = self.log_in(live_api, person)

        def call() -> httpx.Response:
            return httpx.post(f"{live_api.url}{REFRESH}", json=tokens, timeout=60)

        answers = at_once(*[call] * 10)
        assert sorted(a.status_code for a in answers) == [200] + [401] * 9
        (won,) = (a.json() for a in answers if a.status_code == 200)
        headers = {"Authorization": f"Bearer {won['access_token']}"}
        assert httpx.get(f"{live_api.url}/api/v1/auth/me", headers=headers).status_code == 200
        body = {"refresh_token": won["refresh_token"]}
        assert httpx.post(f"{live_api.url}{REFRESH}", json=body).status_code == 200

    def test_ten_thieves_at_once_get_one_session_that_ends(self, live_api, person: httpx.Client):
        tokens = self.log_in(live_api, person)

        def thief(number: int):
            headers = {"User-Agent": f"thief {number}"}
            return lambda: httpx.post(
                f"{live_api.url}{REFRESH}", json=tokens, headers=headers, timeout=60
            )

        answers = at_once(*map(thief, range(10)))
        assert sorted(a.status_code for a in answers) == [200] + [401] * 9
        (won,) = (a.json() for a in answers if a.status_code == 200)
        headers = {"Authorization": f"Bearer {won['access_token']}"}
        assert httpx.get(f"{live_api.url}/api/v1/auth/me", headers=headers).status_code == 401

    @staticmethod
    def log_in(live_api, person: httpx.Client) -> dict[str, str]:
        email = person.get("/auth/me").json()["user"]["email"]
        body = {"email": email, "password": "correct horse battery"}
        answer = httpx.post(f"{live_api.url}/api/v1/auth/login", json=body, timeout=60)
        return {"refresh_token": answer.json()["refresh_token"]}


@pytest.mark.parametrize("token", ["", "dtr_unknown", "\x00", "\ud800", "x" * 100_000])
def test_odd_tokens_are_refused(door: Door, token: str):
    answer = door.client.post(
        REFRESH,
        content=json.dumps({"refresh_token": token}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("later", "status"),
    [(timedelta(days=7, seconds=-60), 200), (timedelta(days=7, seconds=1), 401)],
)
def test_a_refresh_token_is_good_for_seven_days(door: Door, later: timedelta, status: int):
    tokens = door.sign_up()
    with transaction(door.factory) as session:
        session.execute(
            text(
                "UPDATE user_sessions SET created_at = created_at - :later,"
                " expires_at = expires_at - :later WHERE user_id = :user"
            ),
            {"later": later, "user": tokens["user"]["id"]},
        )
    assert renew(door, tokens["refresh_token"]).status_code == status


class TestAbsoluteEnd:
    def test_no_session_lives_longer_than_90_days(self, door: Door):
        first = door.sign_up()
        second = self.renew_at(door, first, MAXIMUM_LIFETIME - timedelta(days=1))
        assert second.status_code == 200
        ends_at = self.ends_at(door, first)
        assert ends_at[1] - ends_at[0] == MAXIMUM_LIFETIME
        cookie = jwt.decode(second.json()["access_token"], options={"verify_signature": False})
        assert cookie["exp"] <= ends_at[1].timestamp()
        last = self.renew_at(door, {**first, **second.json()}, timedelta(days=1))
        assert last.status_code == 401
        assert not is_alive(door, second.json())

    @staticmethod
    def renew_at(door: Door, tokens: dict, later: timedelta):
        """Renews as if the session had begun, and would end, so much earlier."""
        with transaction(door.factory) as session:
            session.execute(
                text(
                    "UPDATE user_sessions SET created_at = created_at - :later,"
                    " expires_at = least(expires_at, created_at - :later + :maximum)"
                    " WHERE user_id = :user"
                ),
                {"later": later, "maximum": MAXIMUM_LIFETIME, "user": tokens["user"]["id"]},
            )
        return renew(door, tokens["refresh_token"])

    @staticmethod
    def ends_at(door: Door, tokens: dict):
        query = text("SELECT created_at, expires_at FROM user_sessions WHERE user_id = :user")
        with transaction(door.factory) as session:
            return session.execute(query, {"user": tokens["user"]["id"]}).one()
