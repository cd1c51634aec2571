"""Sign-up, sign-in, sign-out, the org of a session and the list of sessions, through REST."""

import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.access.permissions import ROLE_PERMISSIONS, Role
from control_plane.access.sessions.service import start_session
from control_plane.access.users.repository import UserRepository
from control_plane.tenancy.service import create_organization
from tests.factories.access import Member, make_member

PASSWORD = "correct horse battery"


def sign_up(client: TestClient, **values: str) -> dict:
    body = {"email": "Ann@Example.com", "password": PASSWORD, "org_name": "Ann and Sons", **values}
    answer = client.post("/api/v1/auth/signup", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def bearer(tokens: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


class TestSignUp:
    def test_creates_an_org_and_its_owner(self, anonymous: TestClient):
        body = sign_up(anonymous)
        assert body["user"]["email"] == "ann@example.com"
        assert body["org"]["slug"] == "ann_and_sons"
        me = anonymous.get("/api/v1/auth/me", headers=bearer(body)).json()
        assert me["orgs"] == [{**body["org"], "role": "owner"}]
        assert me["current_org"] == "ann_and_sons"

    def test_refuses_a_second_account_with_the_same_address(self, anonymous: TestClient):
        sign_up(anonymous)
        answer = anonymous.post(
            "/api/v1/auth/signup",
            json={"email": "ANN@example.com", "password": PASSWORD, "org_name": "B"},
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    @pytest.mark.parametrize("password", ["short", "x" * 73, "ä" * 40, "\ud800" * 10])
    def test_refuses_bad_passwords_without_echoing_them(self, anonymous, password: str):
        body = {"email": "a@example.com", "password": password, "org_name": "B"}
        answer = anonymous.post(
            "/api/v1/auth/signup",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/password"
        assert password not in answer.text

    def test_refuses_unknown_fields(self, anonymous: TestClient):
        answer = anonymous.post(
            "/api/v1/auth/signup",
            json={"email": "a@example.com", "password": PASSWORD, "org_name": "B", "org_id": 1},
        )
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"pointer": "/org_id", "detail": "Extra inputs are not permitted"}
        ]

    def test_never_echoes_a_password_in_a_validation_error(self, anonymous: TestClient):
        answer = anonymous.post(
            "/api/v1/auth/signup", json={"email": "no address", "password": "canary-password"}
        )
        assert answer.status_code == 422
        assert "canary" not in answer.text


class TestLogIn:
    def test_gives_tokens_and_the_orgs(self, anonymous: TestClient):
        sign_up(anonymous)
        answer = anonymous.post(
            "/api/v1/auth/login", json={"email": "ann@EXAMPLE.com", "password": PASSWORD}
        )
        assert answer.status_code == 200
        assert [org["slug"] for org in answer.json()["orgs"]] == ["ann_and_sons"]
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie

    def test_says_the_same_for_a_wrong_password_and_an_unknown_user(self, anonymous):
        sign_up(anonymous)
        answers = [
            anonymous.post("/api/v1/auth/login", json={"email": email, "password": "wrong" * 3})
            for email in ("ann@example.com", "nobody@example.com")
        ]
        assert [a.status_code for a in answers] == [401, 401]
        assert answers[0].json()["detail"] == answers[1].json()["detail"]

    @pytest.mark.parametrize("content_type", [None, "text/plain"])
    def test_takes_only_what_no_foreign_form_can_send(self, anonymous, content_type):
        sign_up(anonymous)
        body = json.dumps({"email": "ann@example.com", "password": PASSWORD})
        headers = {"Content-Type": content_type} if content_type else {}
        assert anonymous.post("/api/v1/auth/login", content=body, headers=headers).is_error


class TestCurrentOrg:
    def test_is_the_oldest_at_first_and_switches(self, client, session, member: Member, vault):
        older = member.org
        newer = second_org(session, vault, member)
        assert client.get("/api/v1/auth/me").json()["current_org"] == older.slug
        answer = client.post("/api/v1/auth/switch", json={"org": newer.slug})
        assert answer.status_code == 200
        assert answer.json()["current_org"] == newer.slug
        assert [org["slug"] for org in answer.json()["orgs"]] == [older.slug, newer.slug]

    def test_of_another_is_404(self, client: TestClient, session: Session, vault):
        stranger = make_member(session, vault)
        session.commit()
        missing = client.post("/api/v1/auth/switch", json={"org": "no_such_org"})
        others = client.post("/api/v1/auth/switch", json={"org": stranger.org.slug})
        assert (missing.status_code, others.status_code) == (404, 404)
        assert (
            missing.json()["detail"].replace("no_such_org", stranger.org.slug)
            == (others.json()["detail"])
        )

    def test_a_suspended_one_is_none(self, client: TestClient, session: Session, member: Member):
        suspend(session, member)
        assert client.get("/api/v1/auth/me").json()["current_org"] is None
        answer = client.post("/api/v1/auth/switch", json={"org": member.org.slug})
        assert answer.status_code == 403


class TestWhatTheGatewayLearns:
    @pytest.mark.caller(role="editor")
    def test_whose_session_and_in_which_org(self, app, anonymous, session, member: Member):
        view = self.view(app, anonymous, session, member)
        assert view == {
            "kind": "user",
            "name": member.user.email,
            "email": member.user.email,
            "is_platform_operator": False,
            "org": member.org.slug,
            "org_id": member.org.id,
            "role": "editor",
            "permissions": sorted(ROLE_PERMISSIONS[Role.EDITOR]),
        }

    def test_no_org_where_it_is_suspended(self, app, anonymous, session, member: Member):
        suspend(session, member)
        self.assert_no_org(self.view(app, anonymous, session, member))

    def test_no_org_where_the_person_has_left(self, app, anonymous, session, member: Member):
        def leave() -> None:
            session.execute(text("DELETE FROM memberships"))
            session.commit()

        self.assert_no_org(self.view(app, anonymous, session, member, leave))

    @staticmethod
    def assert_no_org(view: dict) -> None:
        assert view["kind"] == "user"
        assert {view[name] for name in ("org", "org_id", "role", "permissions")} == {None}

    @staticmethod
    def view(app, anonymous, session, member, then=lambda: None) -> dict:
        tokens = start_session(session, app.state.signer, member.user)
        session.commit()
        then()
        headers = {"Cookie": f"datanika_session={tokens.cookie}"}
        return anonymous.get("/internal/v1/session", headers=headers).json()


class TestSessionList:
    def test_says_where_a_person_is_signed_in(self, anonymous: TestClient):
        first = sign_up(anonymous)
        anonymous.headers["User-Agent"] = "Browser/1 " + "x" * 300
        second = anonymous.post(
            "/api/v1/auth/login", json={"email": "ann@example.com", "password": PASSWORD}
        ).json()
        rows = anonymous.get("/api/v1/auth/sessions", headers=bearer(first)).json()["data"]
        assert [row["is_current"] for row in rows] == [False, True], "newest first"
        assert rows[0]["user_agent"] == ("Browser/1 " + "x" * 300)[:200]
        assert rows[0]["ip_address"] == "testclient"
        assert rows[0]["current_org"] == "ann_and_sons"
        assert rows[0]["expires_at"] > rows[0]["created_at"]
        page = anonymous.get("/api/v1/auth/sessions?limit=1", headers=bearer(second)).json()
        assert [row["is_current"] for row in page["data"]] == [True]
        rest = anonymous.get(
            "/api/v1/auth/sessions",
            params={"cursor": page["next_cursor"]},
            headers=bearer(second),
        ).json()
        assert [row["id"] for row in rest["data"]] == [rows[1]["id"]]

    def test_ends_one_of_them(self, anonymous: TestClient):
        first = sign_up(anonymous)
        second = anonymous.post(
            "/api/v1/auth/login", json={"email": "ann@example.com", "password": PASSWORD}
        ).json()
        row = anonymous.get("/api/v1/auth/sessions", headers=bearer(second)).json()["data"][1]
        path = f"/api/v1/auth/sessions/{row['id']}"
        assert anonymous.delete(path, headers=bearer(second)).status_code == 204
        assert anonymous.get("/api/v1/auth/me", headers=bearer(first)).status_code == 401
        assert anonymous.delete(path, headers=bearer(second)).status_code == 404
        assert anonymous.get("/api/v1/auth/me", headers=bearer(second)).status_code == 200

    @pytest.mark.parametrize("session_id", [0, -1, 2**63, 10**30])
    def test_an_id_that_cannot_be_is_404(self, client: TestClient, session_id: int):
        answer = client.delete(f"/api/v1/auth/sessions/{session_id}")
        assert answer.status_code == 404

    def test_somebody_elses_is_404(self, app, client: TestClient, session: Session, vault):
        stranger = make_member(session, vault)
        theirs = start_session(session, app.state.signer, stranger.user)
        session.commit()
        answer = client.delete(f"/api/v1/auth/sessions/{theirs.session_id}")
        assert answer.status_code == 404
        mine = client.get("/api/v1/auth/sessions").json()["data"]
        assert theirs.session_id not in [row["id"] for row in mine]


class TestSignOut:
    def test_ends_the_session(self, anonymous: TestClient):
        body = sign_up(anonymous)
        assert anonymous.post("/api/v1/auth/logout", headers=bearer(body)).status_code == 204
        assert anonymous.get("/api/v1/auth/me", headers=bearer(body)).status_code == 401
        refresh = {"refresh_token": body["refresh_token"]}
        assert anonymous.post("/api/v1/auth/refresh", json=refresh).status_code == 401


def second_org(session: Session, vault, member: Member):
    """Makes the member an owner of one more org, and leaves the session there."""
    org = create_organization(session, vault, "Second")
    UserRepository(session).add_membership(org.id, member.user.id, Role.OWNER)
    session.commit()
    return org


def suspend(session: Session, member: Member) -> None:
    member.org.is_suspended = True
    session.commit()
