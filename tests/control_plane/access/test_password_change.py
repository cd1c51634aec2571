"""A person's own password: what it ends, what it refuses, and that it cannot be guessed there."""

import pytest

from tests.control_plane.access.conftest import PASSWORD, Door

NEXT = "another battery staple"


def change(door: Door, headers: dict, current: str = PASSWORD, new: str = NEXT):
    body = {"current_password": current, "new_password": new}
    return door.client.post("/api/v1/auth/password", json=body, headers=headers)


def test_ends_every_other_session(door: Door):
    person = door.sign_up()
    other = door.log_in(person["email"]).json()
    assert change(door, person["headers"]).status_code == 204
    me = door.client.get("/api/v1/auth/me", headers=person["headers"])
    assert me.status_code == 200
    headers = {"Authorization": f"Bearer {other['access_token']}"}
    assert door.client.get("/api/v1/auth/me", headers=headers).status_code == 401
    body = {"refresh_token": other["refresh_token"]}
    assert door.client.post("/api/v1/auth/refresh", json=body).status_code == 401
    assert door.log_in(person["email"]).status_code == 401
    assert door.log_in(person["email"], NEXT).status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "pointer"),
    [
        ("not the password", NEXT, "/current_password"),
        (PASSWORD, PASSWORD, "/new_password"),
        (PASSWORD, "short", "/new_password"),
        (PASSWORD, "x" * 73, "/new_password"),
    ],
)
def test_refuses(door: Door, current: str, new: str, pointer: str):
    person = door.sign_up()
    answer = change(door, person["headers"], current, new)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert new not in answer.text
    assert door.log_in(person["email"]).status_code == 200


def test_is_no_way_to_guess_the_password(open_door):
    door = open_door(failed_logins_per_account=2)
    person = door.sign_up()
    for _ in range(2):
        assert change(door, person["headers"], "a wrong guess").status_code == 422
    assert change(door, person["headers"]).status_code == 429
    assert door.log_in(person["email"]).status_code == 429


def test_is_recorded(door: Door):
    person = door.sign_up()
    change(door, person["headers"], "a wrong guess")
    change(door, person["headers"])
    actions = [entry[0] for entry in door.entries("platform_audit_entries", person["email"])]
    assert actions == ["sign_up", "password_change_failed", "password_change"]
    own = door.entries("audit_entries", person["email"], person["org"]["id"])
    assert [entry[0] for entry in own[1:]] == actions


def test_needs_a_session(door: Door):
    assert change(door, {}).status_code == 401
