"""A flood at the door leaves threads for those who are inside."""

import secrets
from contextlib import ExitStack

import bcrypt
import pytest
from fastapi.testclient import TestClient

from control_plane.access.captcha.service import Captcha
from control_plane.access.users.passwords import MAXIMUM_AT_ONCE, password_slot
from tests.control_plane.access.conftest import Door
from tests.control_plane.access.test_password_resets import make_link, redeem

LOGIN = {"email": "nobody@example.com", "password": "correct horse battery"}


def test_who_finds_no_place_is_told_to_come_back(client: TestClient):
    with ExitStack() as taken:
        for _ in range(MAXIMUM_AT_ONCE):
            taken.enter_context(password_slot())
        refused = client.post("/api/v1/auth/login", json=LOGIN)
        inside = client.get(f"/api/v1/orgs/{client.org}")  # type: ignore[attr-defined]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert inside.status_code == 200
    assert client.post("/api/v1/auth/login", json=LOGIN).status_code == 401


def test_nor_is_there_one_for_other_work_with_passwords(client: TestClient, anonymous: TestClient):
    """Each of these costs as much as a login."""
    email = f"{secrets.token_hex(6)}@example.com"
    invitation = client.post(
        f"/api/v1/orgs/{client.org}/invitations",  # type: ignore[attr-defined]
        json={"email": email, "role": "viewer"},
    ).json()
    token = invitation["link"].partition("#token=")[2]
    accepting = {"token": token, "password": LOGIN["password"]}
    with ExitStack() as taken:
        for _ in range(MAXIMUM_AT_ONCE):
            taken.enter_context(password_slot())
        accepted = anonymous.post("/api/v1/auth/invitations/accept", json=accepting)
        changed = client.post(
            "/api/v1/auth/password",
            json={"current_password": "not what it was", "new_password": LOGIN["password"]},
        )
        signed_up = anonymous.post(
            "/api/v1/auth/signup", json={**LOGIN, "email": email, "org_name": "Acme"}
        )
    assert [one.status_code for one in (accepted, changed, signed_up)] == [429] * 3
    again = anonymous.post("/api/v1/auth/invitations/accept", json=accepting)
    assert again.status_code == 200, again.text


def test_nor_for_a_new_password_by_a_link(door: Door):
    person = door.sign_up()
    token = make_link(door, person["email"])
    with ExitStack() as taken:
        for _ in range(MAXIMUM_AT_ONCE):
            taken.enter_context(password_slot())
        assert redeem(door, token).status_code == 429
    assert redeem(door, token).status_code == 204


def test_who_finds_no_place_has_not_failed(open_door):
    door = open_door(failed_logins_per_account=2)
    email = door.sign_up()["email"]
    with ExitStack() as taken:
        for _ in range(MAXIMUM_AT_ONCE):
            taken.enter_context(password_slot())
        answers = [door.log_in(email) for _ in range(4)]
    assert {one.headers["retry-after"] for one in answers} == {"1"}
    assert door.log_in(email).status_code == 200


def test_waiting_for_the_captcha_takes_no_place(open_door, monkeypatch: pytest.MonkeyPatch):
    door = open_door()
    person = door.sign_up()
    with ExitStack() as taken:
        for _ in range(MAXIMUM_AT_ONCE - 1):
            taken.enter_context(password_slot())

        def slow_check(*_: object) -> None:
            with password_slot():
                pass

        monkeypatch.setattr(Captcha, "check", slow_check)
        assert door.log_in(person["email"]).status_code == 200


def test_no_connection_to_the_database_waits_for_a_new_member_s_password(door: Door, monkeypatch):
    owner = door.sign_up()
    invitation = door.client.post(
        f"/api/v1/orgs/{owner['org']['slug']}/invitations",
        json={"email": f"{secrets.token_hex(6)}@example.com", "role": "viewer"},
        headers=owner["headers"],
    ).json()
    pool = door.app.state.session_factory.kw["bind"].pool
    held: list[int] = []

    def hashpw(password: bytes, salt: bytes) -> bytes:
        held.append(pool.checkedout())
        return original(password, salt)

    original = bcrypt.hashpw
    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    accepting = {"token": invitation["link"].partition("#token=")[2], "password": LOGIN["password"]}
    answer = door.client.post("/api/v1/auth/invitations/accept", json=accepting)
    assert (answer.status_code, held) == (200, [0]), answer.text
