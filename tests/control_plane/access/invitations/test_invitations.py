"""Invitations and what becomes of them, through the REST API."""

import json
import logging
import secrets
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from control_plane.access.invitation_store.models import Invitation
from control_plane.access.permissions import ROLE_PERMISSIONS, Role
from control_plane.access.sessions.service import start_session
from control_plane.access.users.models import User
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org
from control_plane.core.mail import Mailer
from tests.control_plane.core.mail_server import Mailbox, mail_server
from tests.factories.access import access_headers, make_colleague, make_member
from tests.fixtures.applications import make_app

PASSWORD = "correct horse battery"
# Not a fixed one: live tests on the same worker keep their accounts.
NEWCOMER = f"{secrets.token_hex(6)}@example.com"


@pytest.fixture
def path(client: TestClient) -> str:
    return f"/api/v1/orgs/{client.org}/invitations"


def invite(client: TestClient, path: str, **values: object) -> dict:
    body = {"email": NEWCOMER, "role": "editor"} | values
    answer = client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def token_of(invitation: dict) -> str:
    return invitation["link"].partition("#token=")[2]


def show(client: TestClient, token: str):
    return client.post("/api/v1/auth/invitations/show", json={"token": token})


def accept(client: TestClient, token: str, headers: dict | None = None, **values: object):
    body = {"token": token} | values
    return client.post("/api/v1/auth/invitations/accept", json=body, headers=headers)


def actions(session: Session, org_id: int) -> list[tuple[str, str]]:
    enter_org(session, org_id)
    rows = session.execute(text("SELECT action, resource_type FROM audit_entries ORDER BY id"))
    return [tuple(row) for row in rows]


class TestInvite:
    def test_gives_a_link_whose_token_is_in_the_fragment(self, client, path, session, member):
        made = invite(client, path, email=NEWCOMER.upper())
        assert made["email"] == NEWCOMER
        assert made["link"].startswith("http://127.0.0.1:8700/invitation#token=dti_")
        assert made["mailed_at"] is None
        stored = session.scalar(select(Invitation).where(Invitation.id == made["id"]))
        assert token_of(made) not in str(vars(stored))
        assert abs(stored.expires_at - utc_now() - timedelta(days=7)) < timedelta(minutes=1)
        assert ("create", "invitation") in actions(session, member.org.id)

    def test_shows_the_link_once(self, client, path):
        made = invite(client, path)
        listed = client.get(path).json()["data"]
        assert [one["id"] for one in listed] == [made["id"]]
        assert "link" not in listed[0]
        assert token_of(made) not in json.dumps(listed)

    def test_an_address_has_one(self, client, path):
        made = invite(client, path)
        again = client.post(path, json={"email": NEWCOMER, "role": "viewer"})
        assert (again.status_code, again.json()["code"]) == (409, "invitation_open")
        assert f"invitation {made['id']}" in again.json()["detail"]
        assert "renew" in again.json()["detail"]

    def test_a_member_needs_none(self, client, path, member):
        answer = client.post(path, json={"email": member.user.email, "role": "viewer"})
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    @pytest.mark.parametrize(
        ("role", "offered", "status"),
        [
            ("owner", "owner", 201),
            ("admin", "admin", 201),
            ("admin", "owner", 403),
            ("editor", "viewer", 403),
            ("viewer", "viewer", 403),
        ],
    )
    def test_nobody_gives_more_than_they_may(
        self, app, client, path, session, member, role, offered, status
    ):
        colleague = make_colleague(session, member.org, Role(role))
        headers = access_headers(session, app.state.signer, colleague.user)
        answer = client.post(path, headers=headers, json={"email": NEWCOMER, "role": offered})
        assert answer.status_code == status, answer.text

    @pytest.mark.parametrize(
        "body",
        [
            {"email": "nobody", "role": "viewer"},
            {"email": NEWCOMER, "role": "god"},
            {"email": NEWCOMER},
            {"email": NEWCOMER, "role": "viewer", "org_id": 1},
            {"email": "a@example.com\nBcc: b@example.com", "role": "viewer"},
        ],
    )
    def test_refuses_what_is_none(self, client, path, body):
        assert client.post(path, json=body).status_code == 422

    def test_a_key_invites_nobody_who_may_more_than_it(self, client, path):
        keys = f"/api/v1/orgs/{client.org}/api-keys"
        scopes = {
            "narrow": ["members:write"],
            "viewing": ["members:write", *ROLE_PERMISSIONS[Role.VIEWER]],
        }
        made = {
            name: {"X-API-Key": client.post(keys, json={"name": name, "scopes": of}).json()["key"]}
            for name, of in scopes.items()
        }
        editor = invite(client, path, email="editor@example.com", role="editor")
        del client.headers["Authorization"]

        def status(key: str, role: str) -> int:
            body = {"email": f"{key}-{role}@example.com", "role": role}
            return client.post(path, headers=made[key], json=body).status_code

        assert [status("narrow", role) for role in Role] == [403] * 4
        assert [status("viewing", role) for role in Role] == [201, 403, 403, 403]
        one = f"{path}/{editor['id']}"
        assert client.post(f"{one}/renew", headers=made["viewing"]).status_code == 403
        assert client.delete(one, headers=made["viewing"]).status_code == 403

    def test_viewers_see_no_invitations(self, app, client, path, session, member):
        colleague = make_colleague(session, member.org, Role.VIEWER)
        headers = access_headers(session, app.state.signer, colleague.user)
        assert client.get(path, headers=headers).status_code == 403


class TestRenewAndRevoke:
    def test_renewing_ends_the_old_link(self, client, anonymous, path):
        made = invite(client, path)
        renewed = client.post(f"{path}/{made['id']}/renew").json()
        assert token_of(renewed) != token_of(made)
        assert show(anonymous, token_of(made)).status_code == 404
        assert show(anonymous, token_of(renewed)).status_code == 200

    def test_revoking_ends_it(self, client, anonymous, path, session, member):
        made = invite(client, path)
        assert client.delete(f"{path}/{made['id']}").status_code == 204
        assert show(anonymous, token_of(made)).status_code == 404
        assert accept(anonymous, token_of(made), password=PASSWORD).status_code == 404
        assert client.delete(f"{path}/{made['id']}").status_code == 404
        assert client.post(f"{path}/{made['id']}/renew").status_code == 404
        assert client.get(path).json()["data"] == []
        assert ("delete", "invitation") in actions(session, member.org.id)
        invite(client, path)

    def test_an_admin_touches_no_owner_s(self, app, client, path, session, member):
        made = invite(client, path, role="owner")
        admin = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, admin.user)
        assert client.post(f"{path}/{made['id']}/renew", headers=headers).status_code == 403
        assert client.delete(f"{path}/{made['id']}", headers=headers).status_code == 403

    def test_another_org_s_are_not_there(self, app, client, path, session, vault, member):
        made = invite(client, path)
        stranger = make_member(session, vault)
        headers = access_headers(session, app.state.signer, stranger.user)
        elsewhere = f"/api/v1/orgs/{stranger.org.slug}/invitations"
        assert client.post(f"{elsewhere}/{made['id']}/renew", headers=headers).status_code == 404
        assert client.delete(f"{elsewhere}/{made['id']}", headers=headers).status_code == 404
        assert client.get(elsewhere, headers=headers).json()["data"] == []


class TestAccept:
    def test_a_new_address_gets_an_account(self, client, anonymous, path, session, member):
        token = token_of(invite(client, path))
        assert show(anonymous, token).json() == {
            "org": member.org.slug,
            "org_name": member.org.name,
            "email": NEWCOMER,
            "role": "editor",
            "has_account": False,
            "is_email_verified": False,
        }
        answer = accept(anonymous, token, password=PASSWORD)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["orgs"] == [
            {
                "id": member.org.id,
                "slug": member.org.slug,
                "name": member.org.name,
                "role": "editor",
            }
        ]
        assert "datanika_session" in answer.cookies
        headers = {"Authorization": f"Bearer {body['access_token']}"}
        me = anonymous.get("/api/v1/auth/me", headers=headers).json()
        assert (me["user"]["email"], me["current_org"]) == (NEWCOMER, member.org.slug)
        login = {"email": NEWCOMER, "password": PASSWORD}
        assert anonymous.post("/api/v1/auth/login", json=login).status_code == 200
        user = session.scalar(select(User).where(User.email == NEWCOMER))
        # Whoever handed the link on may have used it: nothing proves the address.
        assert user.email_verified_at is None
        assert {("accept", "invitation"), ("create", "member")} <= set(
            actions(session, member.org.id)
        )

    def test_works_once(self, client, anonymous, path):
        token = token_of(invite(client, path))
        accept(anonymous, token, password=PASSWORD)
        assert show(anonymous, token).status_code == 404
        assert accept(anonymous, token, password=PASSWORD).status_code == 404

    def test_works_with_sign_up_closed(
        self, client, path, make_settings, outer_connection, app, vault
    ):
        closed = make_app(make_settings(sign_up="closed"))
        closed.state.session_factory, closed.state.vault = app.state.session_factory, vault
        token = token_of(invite(client, path))
        with TestClient(closed) as visitor:
            refused = visitor.post(
                "/api/v1/auth/signup",
                json={"email": NEWCOMER, "password": PASSWORD, "org_name": "Mine"},
            )
            assert refused.status_code == 403
            assert accept(visitor, token, password=PASSWORD).status_code == 200

    @pytest.mark.parametrize("password", [None, "short", "x" * 73])
    def test_a_new_account_needs_a_good_password(self, client, anonymous, path, password):
        token = token_of(invite(client, path))
        answer = accept(anonymous, token, **({"password": password} if password else {}))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/password"
        assert accept(anonymous, token, password=PASSWORD).status_code == 200

    def test_an_account_s_owner_signs_in_first(
        self, app, client, anonymous, path, session, vault, member
    ):
        guest = make_member(session, vault)
        token = token_of(invite(client, path, email=guest.user.email))
        assert show(anonymous, token).json()["has_account"] is True
        # Nobody takes over the account with the link: not without a session, not with a password.
        for values in ({}, {"password": PASSWORD}):
            answer = accept(anonymous, token, **values)
            assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required")
        as_another = access_headers(session, app.state.signer, member.user)
        answer = accept(anonymous, token, as_another)
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required")
        assert accept(anonymous, token, {"Authorization": "Bearer x"}).status_code == 401
        headers = access_headers(session, app.state.signer, guest.user)
        answer = accept(anonymous, token, headers)
        assert answer.status_code == 200, answer.text
        assert {org["slug"] for org in answer.json()["orgs"]} == {member.org.slug, guest.org.slug}

    def test_whoever_is_signed_in_on_the_pages_needs_no_token(
        self, app, client, anonymous, path, session, vault, member
    ):
        guest = make_member(session, vault)
        token = token_of(invite(client, path, email=guest.user.email))

        def cookie_of(user: User) -> dict[str, str]:
            issued = start_session(session, app.state.signer, user)
            session.commit()
            return {"Cookie": f"datanika_session={issued.cookie}"}

        # Another's cookie, none that is valid, and one that another site's page makes a browser
        # send, open nothing.
        for headers in (cookie_of(member.user), {"Cookie": "datanika_session=x"}):
            answer = accept(anonymous, token, headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required")
        cookie = cookie_of(guest.user)
        forged = cookie | {"Origin": "https://evil.example"}
        assert accept(anonymous, token, forged).status_code == 403
        assert accept(anonymous, token, cookie).status_code == 200

    def test_an_old_cookie_is_in_nobody_s_way(self, client, anonymous, path):
        token = token_of(invite(client, path))
        headers = {"Cookie": "datanika_session=x"}
        assert accept(anonymous, token, headers, password=PASSWORD).status_code == 200

    def test_an_account_keeps_its_password(self, app, client, anonymous, path, session, vault):
        guest = make_member(session, vault)
        token = token_of(invite(client, path, email=guest.user.email))
        headers = access_headers(session, app.state.signer, guest.user)
        assert accept(anonymous, token, headers, password=PASSWORD).status_code == 422

    def test_a_member_is_one_already(self, app, client, anonymous, path, session, member, vault):
        guest = make_member(session, vault)
        token = token_of(invite(client, path, email=guest.user.email))
        enter_org(session, member.org.id)
        session.execute(
            text(
                "INSERT INTO memberships (org_id, user_id, role, created_at, updated_at)"
                " VALUES (:org, :user, 'viewer', now(), now())"
            ),
            {"org": member.org.id, "user": guest.user.id},
        )
        session.commit()
        headers = access_headers(session, app.state.signer, guest.user)
        answer = accept(anonymous, token, headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    def test_a_link_ends_after_a_week(self, client, anonymous, path, session):
        made = invite(client, path)
        session.execute(update(Invitation).values(expires_at=utc_now() - timedelta(seconds=1)))
        session.commit()
        assert show(anonymous, token_of(made)).status_code == 404
        assert accept(anonymous, token_of(made), password=PASSWORD).status_code == 404
        renewed = client.post(f"{path}/{made['id']}/renew").json()
        assert accept(anonymous, token_of(renewed), password=PASSWORD).status_code == 200

    @pytest.mark.parametrize(
        "what", ["UPDATE memberships SET role = 'editor'", "DELETE FROM memberships"]
    )
    def test_whoever_invited_may_still(self, app, client, anonymous, path, session, member, what):
        admin = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, admin.user)
        made = client.post(path, headers=headers, json={"email": NEWCOMER, "role": "admin"}).json()
        enter_org(session, member.org.id)
        session.execute(text(f"{what} WHERE user_id = :user"), {"user": admin.user.id})
        session.commit()
        assert show(anonymous, token_of(made)).status_code == 403
        assert accept(anonymous, token_of(made), password=PASSWORD).status_code == 403
        # Somebody else may take it over.
        renewed = client.post(f"{path}/{made['id']}/renew").json()
        assert accept(anonymous, token_of(renewed), password=PASSWORD).status_code == 200

    def test_a_key_invites_in_its_maker_s_name(self, app, client, anonymous, path, session, member):
        admin = make_colleague(session, member.org, Role.ADMIN)
        headers = access_headers(session, app.state.signer, admin.user)
        key = client.post(
            f"/api/v1/orgs/{client.org}/api-keys",
            headers=headers,
            json={"name": "inviter", "scopes": sorted(ROLE_PERMISSIONS[Role.ADMIN])},
        ).json()["key"]
        made = anonymous.post(
            path, headers={"X-API-Key": key}, json={"email": NEWCOMER, "role": "admin"}
        ).json()
        client.patch(f"/api/v1/orgs/{client.org}/members/{admin.user.id}", json={"role": "viewer"})
        assert accept(anonymous, token_of(made), password=PASSWORD).status_code == 403

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "dti_1_x",
            f"dti_0_{'x' * 43}",
            f"dti_9999999999999999999_{'x' * 43}",
            f"dti_9223372036854775807_{'x' * 43}",
            f"dtk_1_{'x' * 43}",
            f"dti_1_{'x' * 43}\n",
            "dti_1_" + "\x00" * 43,
        ],
    )
    def test_what_is_no_token(self, anonymous, token):
        assert show(anonymous, token).status_code == 404
        assert accept(anonymous, token, password=PASSWORD).status_code == 404

    def test_a_token_opens_its_own_org_only(self, client, anonymous, path, session, vault, member):
        stranger = make_member(session, vault)
        token = token_of(invite(client, path))
        elsewhere = token.replace(f"dti_{member.org.id}_", f"dti_{stranger.org.id}_")
        assert show(anonymous, elsewhere).status_code == 404

    @pytest.mark.parametrize("column", ["is_suspended = true", "deleted_at = now()"])
    def test_a_shut_org_takes_nobody(self, client, anonymous, path, session, member, column):
        token = token_of(invite(client, path))
        enter_org(session, member.org.id)
        session.execute(text(f"UPDATE organizations SET {column}"))
        session.commit()
        assert show(anonymous, token).status_code == 404
        assert accept(anonymous, token, password=PASSWORD).status_code == 404

    def test_a_page_of_another_site_signs_nobody_in(self, client, anonymous, path):
        token = token_of(invite(client, path))
        headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert accept(anonymous, token, headers, password=PASSWORD).status_code == 403

    def test_guessing_is_slowed_down(self, app, client, path, make_settings, vault):
        few = make_app(make_settings(failed_logins_per_address=3))
        few.state.session_factory, few.state.vault = app.state.session_factory, vault
        token = token_of(invite(client, path))
        with TestClient(few) as visitor:
            for _ in range(5):
                assert show(visitor, token).status_code == 200
            wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
            assert [show(visitor, wrong).status_code for _ in range(3)] == [404] * 3
            answer = accept(visitor, token, password=PASSWORD)
            assert answer.status_code == 429
            assert int(answer.headers["Retry-After"]) > 0


class TestMail:
    @pytest.fixture
    def mailbox(self, app):
        with mail_server() as mailbox:
            app.state.mailer = Mailer(
                f"smtp://127.0.0.1:{mailbox.port}", "Datanika <platform@example.com>"
            )
            yield mailbox

    @staticmethod
    def mailed_token(mailbox: Mailbox) -> str:
        text = mailbox.messages[-1].get_content()
        (line,) = [one for one in text.split() if "#token=" in one]
        return line.partition("#token=")[2]

    def test_the_link_travels_by_mail_alone(
        self, client, anonymous, path, session, mailbox, member
    ):
        made = invite(client, path)
        assert made["link"] is None
        assert made["mailed_at"] is not None
        (message,) = mailbox.messages
        assert message["To"] == NEWCOMER
        assert message["Subject"] == f"Invitation to {member.org.name}"
        assert member.user.email in message.get_content()
        answer = accept(anonymous, self.mailed_token(mailbox), password=PASSWORD)
        assert answer.status_code == 200, answer.text
        user = session.scalar(select(User).where(User.email == NEWCOMER))
        assert user.email_verified_at is not None

    def test_renewed_without_mail_proves_no_address(
        self, app, client, anonymous, path, session, mailbox
    ):
        made = invite(client, path)
        app.state.mailer = Mailer(None, "platform@example.com")
        renewed = client.post(f"{path}/{made['id']}/renew").json()
        assert renewed["mailed_at"] is None
        accept(anonymous, token_of(renewed), password=PASSWORD)
        user = session.scalar(select(User).where(User.email == NEWCOMER))
        assert user.email_verified_at is None

    def test_an_org_s_name_adds_no_header(self, client, path, session, mailbox, member):
        enter_org(session, member.org.id)
        session.execute(
            text("UPDATE organizations SET name = :name"),
            {"name": "Acme\r\nBcc: eve@example.com\r\n\r\nPay here"},
        )
        session.commit()
        session.expire_all()
        invite(client, path)
        (message,) = mailbox.messages
        assert message["Bcc"] is None
        assert mailbox.envelopes[0].rcpt_tos == [NEWCOMER]
        assert "\nPay here" not in message.get_content()

    def test_an_org_cannot_flood_mailboxes(self, client, path, mailbox, monkeypatch):
        monkeypatch.setattr("control_plane.access.invitations.delivery.MAILS_PER_ORG", 2)
        made = invite(client, path)
        assert client.post(f"{path}/{made['id']}/renew").status_code == 200
        assert client.post(f"{path}/{made['id']}/renew").status_code == 429
        assert len(mailbox.messages) == 2


def test_no_token_is_logged_or_audited(client, anonymous, path, session, member, caplog):
    with caplog.at_level(logging.DEBUG):
        token = token_of(invite(client, path))
        show(anonymous, token)
        show(anonymous, token[:-1])
        accept(anonymous, token, password=PASSWORD)
    secret = token.rpartition("_")[2] if token.count("_") == 2 else token[-30:]
    assert secret not in caplog.text
    enter_org(session, member.org.id)
    for table in ("audit_entries", "platform_audit_entries", "invitations"):
        rows = session.execute(text(f"SELECT t::text FROM {table} t")).scalars().all()
        assert not [row for row in rows if secret in row], table
