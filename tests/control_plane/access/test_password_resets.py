"""Forgotten passwords: links by mail and by an operator, one use, and nothing told about accounts."""

import re
import secrets
import socket
import time
from contextlib import closing
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from control_plane.access.password_resets import service
from control_plane.core.database import transaction
from tests.control_plane.access.conftest import Door
from tests.control_plane.core.mail_server import mail_server

NEXT = "another battery staple"
RESETS = "/api/v1/auth/password-resets"


def ask(door: Door, email: str):
    return door.client.post(RESETS, json={"email": email})


def redeem(door: Door, token: str, password: str = NEXT):
    body = {"token": token, "new_password": password}
    return door.from_elsewhere().post(f"{RESETS}/redeem", json=body)


def make_link(door: Door, email: str) -> str:
    """Has an operator make a link and returns its token."""
    answer = door.client.post(
        "/api/v1/system/password-resets", json={"email": email}, headers=door.make_operator()
    )
    assert answer.status_code == 201, answer.text
    return token_of(answer.json()["link"])


def token_of(content: str) -> str:
    found = re.search(r"/password-reset#token=(dtp_[\w-]{43})\b", content)
    assert found, content
    return found[1]


def bearer(tokens: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def new_key(door: Door, person: dict) -> str:
    """Makes an API key of somebody's org and returns it."""
    path = f"/api/v1/orgs/{person['org']['slug']}/api-keys"
    body = {"name": "key", "scopes": ["orgs:read"]}
    answer = door.client.post(path, json=body, headers=person["headers"])
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


def is_verified(door: Door, email: str) -> bool:
    query = text("SELECT email_verified_at IS NOT NULL FROM users WHERE email = :email")
    with transaction(door.factory) as session:
        return bool(session.scalar(query, {"email": email}))


class TestByMail:
    def test_sets_a_new_password_and_proves_the_address(self, open_door):
        with mail_server() as mailbox:
            door = open_door(smtp_url=f"smtp://127.0.0.1:{mailbox.port}")
            person = door.sign_up()
            assert ask(door, person["email"].upper()).status_code == 202
            (message,) = mailbox.messages
        assert message["To"] == person["email"]
        assert not is_verified(door, person["email"])
        assert redeem(door, token_of(message.get_content())).status_code == 204
        assert is_verified(door, person["email"])
        assert door.log_in(person["email"], NEXT).status_code == 200

    def test_the_first_one_ends_what_the_account_has_given_out(self, open_door):
        """Whoever signed up with somebody else's address keeps nothing of the account."""
        with mail_server() as mailbox:
            door = open_door(smtp_url=f"smtp://127.0.0.1:{mailbox.port}")
            person = door.sign_up()
            org = f"/api/v1/orgs/{person['org']['slug']}"

            def make_key() -> dict[str, str]:
                return {"X-API-Key": new_key(door, person)}

            first = make_key()
            invited = {"email": f"{secrets.token_hex(6)}@example.com", "role": "owner"}
            made = door.client.post(f"{org}/invitations", json=invited, headers=person["headers"])
            assert made.status_code == 201, made.text
            ask(door, person["email"])
            redeem(door, token_of(mailbox.messages[-1].get_content()))
            assert door.client.get(org, headers=first).status_code == 401
            query = text("SELECT revoked_at IS NOT NULL FROM invitations")
            with transaction(door.factory, person["org"]["id"]) as session:
                assert session.scalars(query).all() == [True]
            person["headers"] = bearer(door.log_in(person["email"], NEXT).json())
            # The address is proven: what its owner makes from now on is the owner's.
            second = make_key()
            ask(door, person["email"])
            redeem(door, token_of(mailbox.messages[-1].get_content()))
            assert door.client.get(org, headers=second).status_code == 200

    def test_nobody_without_an_account_gets_mail_and_nobody_can_tell(self, open_door):
        with mail_server() as mailbox:
            door = open_door(smtp_url=f"smtp://127.0.0.1:{mailbox.port}")
            known = ask(door, door.sign_up()["email"])
            unknown = ask(door, f"{secrets.token_hex(6)}@example.com")
            assert len(mailbox.messages) == 1
        assert (known.status_code, known.json()) == (unknown.status_code, unknown.json())

    def test_the_answer_does_not_wait_for_the_mail(self, live_api):
        """A mail server that never speaks holds up nobody, so time tells nothing either."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            mailer = live_api.application.state.mailer
            live_api.application.state.mailer = service.Mailer(
                f"smtp://127.0.0.1:{silent.getsockname()[1]}", "platform@example.com"
            )
            try:
                with closing(live_api.sign_up()) as client:
                    email = client.get("/auth/me").json()["user"]["email"]
                started_at = time.monotonic()
                answer = httpx.post(f"{live_api.url}{RESETS}", json={"email": email})
                assert time.monotonic() - started_at < 5
            finally:
                live_api.application.state.mailer = mailer
        assert answer.status_code == 202

    def test_without_a_mail_server_the_answer_is_the_same(self, door: Door):
        answer = ask(door, door.sign_up()["email"])
        assert answer.status_code == 202
        assert "if" in answer.json()["detail"].lower()

    def test_fills_nobodys_mailbox(self, open_door):
        with mail_server() as mailbox:
            door = open_door(smtp_url=f"smtp://127.0.0.1:{mailbox.port}")
            for email in (door.sign_up()["email"], f"{secrets.token_hex(6)}@example.com"):
                statuses = [ask(door, email).status_code for _ in range(6)]
                assert statuses == [202] * 5 + [429]
            assert len(mailbox.messages) == 5


class TestByAnOperator:
    def test_the_link_is_good_once_and_proves_no_address(self, door: Door):
        person = door.sign_up()
        token = make_link(door, person["email"])
        assert redeem(door, token).status_code == 204
        assert not is_verified(door, person["email"])
        me = door.client.get("/api/v1/auth/me", headers=person["headers"])
        assert me.status_code == 401, "every session ends"
        again = redeem(door, token, "yet another battery")
        assert again.status_code == 422
        assert again.json()["errors"][0]["pointer"] == "/token"
        assert token not in again.text

    def test_only_operators_make_links(self, door: Door):
        person = door.sign_up()
        for headers in ({}, person["headers"]):
            answer = door.client.post(
                "/api/v1/system/password-resets", json={"email": person["email"]}, headers=headers
            )
            assert answer.status_code == (403 if headers else 401)

    def test_using_one_link_closes_the_others(self, door: Door):
        person = door.sign_up()
        first, second = (make_link(door, person["email"]) for _ in range(2))
        assert redeem(door, second).status_code == 204
        assert redeem(door, first).status_code == 422

    def test_a_link_expires(self, door: Door):
        person = door.sign_up()
        token = make_link(door, person["email"])
        query = "UPDATE password_resets SET expires_at = expires_at - :age WHERE user_id = :user"
        with transaction(door.factory) as session:
            age = service.LIFETIME + timedelta(seconds=1)
            session.execute(text(query), {"age": age, "user": person["user"]["id"]})
        assert redeem(door, token).status_code == 422

    def test_a_bad_password_does_not_use_the_link_up(self, door: Door):
        token = make_link(door, door.sign_up()["email"])
        assert redeem(door, token, "short").status_code == 422
        assert redeem(door, token).status_code == 204

    def test_is_recorded_and_keeps_no_token(self, door: Door):
        person = door.sign_up()
        token = make_link(door, person["email"])
        redeem(door, token)
        own = door.entries("audit_entries", person["email"], person["org"]["id"])
        assert own[-1][0] == "password_reset"
        with transaction(door.factory) as session:
            rows = session.execute(text("SELECT * FROM password_resets")).all()
        assert token not in str(rows)
        assert token.removeprefix("dtp_") not in str(rows)


@pytest.mark.parametrize("token", ["", "dtp_" + "x" * 43, "\x00", "dtr_something"])
def test_refuses_other_tokens(door: Door, token: str):
    assert redeem(door, token).status_code == 422


def test_guessing_tokens_is_throttled(open_door):
    door = open_door(failed_logins_per_address=3)
    body = {"token": "dtp_guess", "new_password": NEXT}
    statuses = [door.client.post(f"{RESETS}/redeem", json=body).status_code for _ in range(4)]
    assert statuses == [422, 422, 422, 429]
