"""Every refused login is on record, and nobody fills the record by being refused."""

import secrets
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from control_plane.access.throttling.service import Limit, Throttle
from control_plane.core.database import transaction
from control_plane.core.errors import Throttled
from tests.control_plane.access.captcha_server import SECRET, captcha_server
from tests.control_plane.access.conftest import Door

WRONG = "wrong password"


def nobody() -> str:
    return f"{secrets.token_hex(6)}@example.com"


def entries(door: Door, action: str, name: str, org_id: int | None = None) -> list[tuple]:
    """Returns (ip_address, actor_id, new_values), from an org's log or the platform's."""
    table = "platform_audit_entries" if org_id is None else "audit_entries"
    query = (
        f"SELECT ip_address, actor_id, new_values FROM {table}"
        " WHERE actor_name = :name AND action = :action ORDER BY id"
    )
    with transaction(door.factory, org_id) as session:
        return [
            tuple(row) for row in session.execute(text(query), {"name": name, "action": action})
        ]


class TestThrottledAccount:
    def test_is_recorded_once_in_both_logs(self, open_door):
        door = open_door(failed_logins_per_account=2)
        person = door.sign_up()
        email, client = person["email"], door.from_elsewhere("192.0.2.90")
        statuses = [door.log_in(email, WRONG, client).status_code for _ in range(6)]
        assert statuses == [401] * 2 + [429] * 4
        client.post("/login", data={"email": f" {email.upper()}", "password": WRONG})
        wanted = [("192.0.2.90", None, {"counter": "login_account"})]
        assert entries(door, "login_throttled", email) == wanted
        in_org = entries(door, "login_throttled", email, person["org"]["id"])
        assert in_org == [("192.0.2.90", None, None)]
        assert len(entries(door, "login_failed", email)) == 2

    def test_without_an_account_too(self, open_door):
        door = open_door(failed_logins_per_account=1)
        email = nobody()
        assert [door.log_in(email, WRONG).status_code for _ in range(3)] == [401, 429, 429]
        assert len(entries(door, "login_throttled", email)) == 1

    def test_parallel_refusals_are_one_entry(self, open_door):
        door = open_door(failed_logins_per_account=1)
        email = door.sign_up()["email"]
        door.log_in(email, WRONG)
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda _: door.log_in(email, WRONG).status_code, range(8))
        assert set(answers) == {429}
        assert len(entries(door, "login_throttled", email)) == 1

    def test_takes_as_long_with_an_account_as_without(self, open_door):
        door = open_door(failed_logins_per_account=1)

        def refused_after(email: str) -> float:
            door.log_in(email, WRONG)
            started_at = time.monotonic()
            assert door.log_in(email, WRONG).status_code == 429
            return time.monotonic() - started_at

        known = statistics.median(refused_after(door.sign_up()["email"]) for _ in range(3))
        unknown = statistics.median(refused_after(nobody()) for _ in range(3))
        assert min(known, unknown) >= 0.1, "held back for longer than the entries take"


class TestThrottledAddress:
    def test_is_recorded_once_and_in_no_orgs_log(self, open_door):
        door = open_door(failed_logins_per_address=1)
        person = door.sign_up()
        email = person["email"]
        assert [door.log_in(email, WRONG).status_code for _ in range(4)] == [401, 429, 429, 429]
        found = entries(door, "login_throttled", email)
        assert [values for _, _, values in found] == [{"counter": "login_address"}]
        assert entries(door, "login_throttled", email, person["org"]["id"]) == []

    def test_with_other_names_too(self, open_door):
        door = open_door(failed_logins_per_address=1)
        names = [nobody() for _ in range(5)]
        for name in names:
            door.log_in(name, WRONG)
        assert sum(len(entries(door, "login_throttled", name)) for name in names) == 1


class TestCaptcha:
    @pytest.mark.parametrize(
        ("status", "code"), [(200, "captcha_failed"), (500, "captcha_unavailable")]
    )
    def test_a_refusal_is_a_failed_login(self, open_door, status: int, code: str):
        email = nobody()
        with captcha_server() as google:
            google.answer["success"], google.status = False, status
            door = open_door(
                RECAPTCHA_SITE_KEY="site-key", RECAPTCHA_SECRET_KEY=SECRET, recaptcha_url=google.url
            )
            body = {"email": email, "password": WRONG, "captcha_token": "canary-token"}
            answer = door.client.post("/api/v1/auth/login", json=body)
        assert answer.json()["code"] == code
        found = entries(door, "login_failed", email)
        assert [(actor_id, values) for _, actor_id, values in found] == [(None, {"because": code})]

    @pytest.mark.parametrize("email", ["a\x00b@example.com", "a" * 320, "ä\n@example.com"])
    def test_odd_addresses_are_no_defect(self, open_door, email: str):
        with captcha_server() as google:
            door = open_door(
                RECAPTCHA_SITE_KEY="site-key", RECAPTCHA_SECRET_KEY=SECRET, recaptcha_url=google.url
            )
            answer = door.client.post("/login", data={"email": email, "password": WRONG})
        assert answer.status_code in (403, 422), answer.text


def test_the_next_window_is_recorded_anew(door: Door):
    throttle, noted = Throttle(door.factory), []
    one = Limit("test", secrets.token_hex(8), 1, timedelta(seconds=1))

    def attempt() -> None:
        throttle.count(one, on_first_refusal=noted.append)

    attempt()
    for _ in range(3):
        with pytest.raises(Throttled):
            attempt()
    assert noted == [one]
    time.sleep(1.1)
    attempt()
    with pytest.raises(Throttled):
        attempt()
    assert noted == [one, one]


def test_giving_back_does_not_make_it_the_first_again(door: Door):
    throttle, noted = Throttle(door.factory), []
    one = Limit("test", secrets.token_hex(8), 1, timedelta(hours=1))
    counted = throttle.count(one, on_first_refusal=noted.append)
    for _ in range(3):
        with pytest.raises(Throttled):
            throttle.count(one, on_first_refusal=noted.append)
        throttle.give_back(counted)
    assert len(noted) == 1
