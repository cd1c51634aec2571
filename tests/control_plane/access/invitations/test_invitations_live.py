"""Invitations over real HTTP: each request has a transaction of its own."""

import secrets
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from control_plane.core.mail import Mailer
from tests.control_plane.access.parallel import at_once
from tests.control_plane.core.mail_server import Mailbox, mail_server
from tests.fixtures.control_plane import LiveApi

pytestmark = pytest.mark.usefixtures("real_passwords")
PASSWORD = "correct horse battery"


@pytest.fixture
def owner(live_api: LiveApi) -> Iterator[httpx.Client]:
    with closing(live_api.sign_up()) as client:
        yield client


@pytest.fixture
def mailbox(live_api: LiveApi) -> Iterator[Mailbox]:
    before = live_api.application.state.mailer
    with mail_server() as mailbox:
        url = f"smtp://127.0.0.1:{mailbox.port}"
        live_api.application.state.mailer = Mailer(url, "platform@example.com")
        yield mailbox
    live_api.application.state.mailer = before


def address() -> str:
    return f"{secrets.token_hex(6)}@example.com"


def token_of(made: dict) -> str:
    return made["link"].partition("#token=")[2]


def accept(live_api: LiveApi, token: str, headers: dict | None = None, **values: str):
    url = f"{live_api.url}/api/v1/auth/invitations/accept"
    return httpx.post(url, json={"token": token} | values, headers=headers, timeout=60)


def test_a_mail_that_fails_leaves_an_invitation(live_api, owner, mailbox):
    path = f"/orgs/{owner.org}/invitations"
    mailbox.is_down = True
    answer = owner.post(path, json={"email": address(), "role": "viewer"})
    assert (answer.status_code, answer.json()["code"]) == (502, "invitation_not_mailed")
    assert "Renew" in answer.json()["detail"]
    (listed,) = owner.get(path).json()["data"]
    assert listed["mailed_at"] is None
    mailbox.is_down = False
    renewed = owner.post(f"{path}/{listed['id']}/renew").json()
    assert renewed["link"] is None
    assert renewed["mailed_at"] is not None
    (line,) = [one for one in mailbox.messages[0].get_content().split() if "#token=" in one]
    token = line.partition("#token=")[2]
    assert accept(live_api, token, password=PASSWORD).status_code == 200


def test_of_many_who_accept_at_once_one_does(live_api, owner):
    path = f"/orgs/{owner.org}/invitations"
    email = address()
    token = token_of(owner.post(path, json={"email": email, "role": "viewer"}).json())
    answers = at_once(*[lambda: accept(live_api, token, password=PASSWORD)] * 6)
    assert sorted(a.status_code for a in answers) == [200] + [404] * 5
    members = owner.get(f"/orgs/{owner.org}/members").json()["data"]
    assert [one["email"] for one in members].count(email) == 1


def test_an_account_that_accepts_twice_at_once_is_one_member(live_api, owner):
    with closing(live_api.sign_up()) as guest:
        email = guest.get("/auth/me").json()["user"]["email"]
        headers = {"Authorization": guest.headers["Authorization"]}
    path = f"/orgs/{owner.org}/invitations"
    token = token_of(owner.post(path, json={"email": email, "role": "viewer"}).json())
    answers = at_once(*[lambda: accept(live_api, token, headers)] * 4)
    assert sorted(a.status_code for a in answers) == [200] + [404] * 3


def test_two_orgs_invite_a_new_address_that_accepts_both_at_once(live_api, owner):
    email = address()
    with closing(live_api.sign_up()) as other:
        tokens = [
            token_of(
                one.post(
                    f"/orgs/{one.org}/invitations", json={"email": email, "role": "viewer"}
                ).json()
            )
            for one in (owner, other)
        ]
    answers = at_once(*[lambda t=t: accept(live_api, t, password=PASSWORD) for t in tokens])
    # One account is made; the other finds it and asks for its password.
    assert sorted(a.status_code for a in answers) in ([200, 401], [200, 409])
    made = next(a for a in answers if a.status_code == 200).json()
    second = tokens[0 if answers[1].status_code == 200 else 1]
    headers = {"Authorization": f"Bearer {made['access_token']}"}
    assert accept(live_api, second, headers).status_code == 200


def test_two_admins_who_invite_an_address_at_once_make_one_invitation(owner):
    path = f"/orgs/{owner.org}/invitations"
    body = {"email": address(), "role": "viewer"}
    answers = at_once(*[lambda: owner.post(path, json=body)] * 4)
    assert sorted(a.status_code for a in answers) == [201] + [409] * 3


def test_renewing_and_accepting_at_once_leaves_one_outcome(live_api, owner):
    path = f"/orgs/{owner.org}/invitations"
    for _ in range(4):
        made = owner.post(path, json={"email": address(), "role": "viewer"}).json()
        accepted, renewed = at_once(
            lambda made=made: accept(live_api, token_of(made), password=PASSWORD),
            lambda made=made: owner.post(f"{path}/{made['id']}/renew"),
        )
        assert {accepted.status_code, renewed.status_code} == {200, 404}
