"""Sign-up, sign-in, renewal and sign-out, through the REST API."""

import jwt
import pytest
from fastapi.testclient import TestClient

from control_plane.access.sessions.tokens import Audience, ServiceRole

PASSWORD = "correct horse battery"


def sign_up(client: TestClient, **values: str) -> dict:
    body = {"email": "Ann@Example.com", "password": PASSWORD, "org_name": "Acme", **values}
    answer = client.post("/api/v1/auth/signup", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


class TestSignUp:
    def test_creates_an_org_and_its_owner(self, anonymous: TestClient):
        body = sign_up(anonymous)
        assert body["user"]["email"] == "ann@example.com"
        assert body["org"]["slug"] == "acme"
        me = anonymous.get(
            "/api/v1/auth/me", headers={"Authorization": f"Bearer {body['access_token']}"}
        ).json()
        assert me["orgs"] == [{**body["org"], "role": "owner"}]

    def test_refuses_a_second_account_with_the_same_address(self, anonymous: TestClient):
        sign_up(anonymous)
        answer = anonymous.post(
            "/api/v1/auth/signup",
            json={"email": "ANN@example.com", "password": PASSWORD, "org_name": "B"},
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")

    @pytest.mark.parametrize("password", ["short", "x" * 73, "ä" * 40])
    def test_refuses_bad_passwords_without_echoing_them(self, anonymous, password: str):
        answer = anonymous.post(
            "/api/v1/auth/signup",
            json={"email": "a@example.com", "password": password, "org_name": "B"},
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
        assert [org["slug"] for org in answer.json()["orgs"]] == ["acme"]
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


class TestRenewal:
    def test_rotates_and_ends_the_session_when_an_old_token_comes_back(self, anonymous):
        first = sign_up(anonymous)
        second = self.refresh(anonymous, first["refresh_token"])
        assert second.status_code == 200
        assert self.refresh(anonymous, first["refresh_token"]).status_code == 401
        stolen = self.refresh(anonymous, second.json()["refresh_token"])
        assert stolen.status_code == 401, "the whole session ends"
        headers = {"Authorization": f"Bearer {second.json()['access_token']}"}
        assert anonymous.get("/api/v1/auth/me", headers=headers).status_code == 401

    def test_sign_out_ends_the_session(self, anonymous: TestClient):
        body = sign_up(anonymous)
        headers = {"Authorization": f"Bearer {body['access_token']}"}
        assert anonymous.post("/api/v1/auth/logout", headers=headers).status_code == 204
        assert anonymous.get("/api/v1/auth/me", headers=headers).status_code == 401
        assert self.refresh(anonymous, body["refresh_token"]).status_code == 401

    @staticmethod
    def refresh(client: TestClient, token: str):
        return client.post("/api/v1/auth/refresh", json={"refresh_token": token})


class TestTokens:
    def test_refuses_tokens_of_another_use_or_key(self, anonymous: TestClient, app):
        body = sign_up(anonymous)
        claims = jwt.decode(
            body["access_token"], options={"verify_signature": False}, algorithms=["HS256"]
        )
        signer = app.state.signer
        forged = [
            jwt.encode(claims, "another key of at least 32 bytes....", algorithm="HS256"),
            jwt.encode(claims, "", algorithm="none"),
            signer.service_token(ServiceRole.SUPERVISOR),
            body["refresh_token"],
            "",
            "x.y.z",
        ]
        for claim in ("exp", "jti", "sub", "iat"):
            less = {k: v for k, v in claims.items() if k != claim}
            forged.append(jwt.encode(less, signer._key, algorithm="HS256"))
        for token in forged:
            answer = anonymous.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, token

    def test_the_cookie_does_not_open_the_rest_api(self, anonymous: TestClient):
        sign_up(anonymous)
        assert "datanika_session" in anonymous.cookies
        assert anonymous.get("/api/v1/auth/me").status_code == 401

    def test_the_gateway_learns_whose_cookie_it_is(self, anonymous: TestClient):
        sign_up(anonymous)
        view = anonymous.get("/internal/v1/session").json()
        assert view == {
            "kind": "user",
            "name": "ann@example.com",
            "email": "ann@example.com",
            "is_platform_operator": False,
        }

    def test_only_the_control_planes_service_token_opens_dagster(self, anonymous, app):
        for role in ServiceRole:
            token = app.state.signer.service_token(role)
            answer = anonymous.get(
                "/internal/v1/session", headers={"Authorization": f"Bearer {token}"}
            )
            expected = 200 if role == ServiceRole.CONTROL_PLANE else 403
            assert answer.status_code == expected, role

    def test_audiences_are_distinct(self):
        assert len(set(Audience)) == 3
