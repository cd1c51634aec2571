"""The HTML pages: signing in and out for the Dagster UI, passwords, and requests of other sites."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from control_plane.access.users.service import create_user, make_operator
from control_plane.system.login_page import safe_next
from tests.fixtures.applications import make_app

DAGSTER = "http://127.0.0.1:8701/dagster"
OWN = "http://127.0.0.1:8700"
PASSWORD = "correct horse battery"
FORM = {"email": "ann@example.com", "password": PASSWORD}


@pytest.fixture
def user(session: Session):
    made = create_user(session, "ann@example.com", PASSWORD)
    session.commit()
    return made


def log_in(client: TestClient, headers: dict | None = None, **more: str):
    return client.post("/login", data=FORM | more, headers=headers, follow_redirects=False)


class TestLogin:
    def test_signs_an_operator_in_for_the_dagster_ui(self, anonymous, session: Session, user):
        make_operator(session, user.email)
        session.commit()
        answer = log_in(anonymous, next=f"{DAGSTER}/runs")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{DAGSTER}/runs")
        assert "datanika_session" in answer.cookies
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie

    @pytest.mark.parametrize(
        ("public_url", "is_secure"),
        [("https://x.example", True), ("http://x.example", True), (OWN, False)],
    )
    def test_the_cookie_is_secure_unless_the_platform_is_plain_http_on_loopback(
        self, make_settings, app, user, public_url: str, is_secure: bool
    ):
        app.state.settings = make_settings(public_url=public_url)
        with TestClient(app) as client:
            assert ("Secure" in log_in(client).headers["set-cookie"]) == is_secure

    def test_says_no_without_a_cookie(self, anonymous: TestClient, user):
        answer = log_in(anonymous, password="wrong" * 4)
        assert answer.status_code == 401
        assert "datanika_session" not in answer.cookies
        assert "wrongwrong" not in answer.text
        assert "is wrong" in answer.text

    def test_escapes_what_it_shows(self, anonymous: TestClient):
        answer = anonymous.get("/login", params={"next": f'{DAGSTER}/"><script>'})
        assert "<script>" not in answer.text
        answer = log_in(anonymous, next=f'{DAGSTER}/"><script>', password="wrong" * 4)
        assert "<script>" not in answer.text

    @pytest.mark.parametrize(
        "target",
        [
            "https://evil.example/dagster",
            "//evil.example",
            "/\\evil.example",
            "\t//evil.example",
            f"{DAGSTER}@evil.example",
            f"{DAGSTER}\\@evil.example",
            f"{DAGSTER}/\u2028//evil.example",
            "http://127.0.0.1:8701/other",
            "http://127.0.0.1:8701/dagsterer",
            "javascript:alert(1)",
            "http://127.0.0.1:8701.evil.example/dagster",
            "http://[",
            "",
        ],
    )
    def test_leads_nowhere_else(self, target: str):
        assert safe_next(target, DAGSTER) is None

    def test_offers_the_providers_that_are_set_up(self, make_settings, databases):
        settings = make_settings(
            GOOGLE_CLIENT_ID="id", GOOGLE_CLIENT_SECRET="secret", GITHUB_CLIENT_ID="id"
        )
        with TestClient(make_app(settings)) as client:
            page = client.get("/login", params={"next": f"{DAGSTER}/runs?a=1&b=2"}).text
        links = re.findall(r'href="(/api/auth/login/[^"]*)"', page)
        wanted = "http%3A%2F%2F127.0.0.1%3A8701%2Fdagster%2Fruns%3Fa%3D1%26b%3D2"
        assert links == [f"/api/auth/login/google?return_to={wanted}"]

    def test_offers_a_password_link_where_mail_can_be_sent(self, make_settings, anonymous):
        settings = make_settings(smtp_url="smtp://127.0.0.1:25")
        with TestClient(make_app(settings)) as client:
            assert 'href="/forgotten-password"' in client.get("/login").text
        assert "forgotten-password" not in anonymous.get("/login").text


class TestPolicies:
    @pytest.mark.parametrize(
        "path", ["/login", "/logout", "/password-reset", "/forgotten-password", "/invitation"]
    )
    def test_nothing_foreign_and_nothing_without_its_nonce(self, anonymous, path: str):
        first, second = anonymous.get(path), anonymous.get(path)
        policy = directives(first)
        assert policy["default-src"] == "'none'"
        assert policy["base-uri"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in str(policy)
        nonce = re.search(r"'nonce-([\w-]{20,})'", policy["style-src"])
        assert nonce
        assert nonce[1] not in second.text, "a nonce is used once"
        assert set(re.findall(r'nonce="([^"]+)"', first.text)) == {nonce[1]}
        for tag in re.findall(r"<(?:script|style)[^>]*>", first.text):
            assert nonce[1] in tag
        assert not re.findall(r"\son\w+=|\sstyle=|(?:src|href)=\"(?:https?:)?//", first.text)
        assert first.headers["Cache-Control"] == "no-store"

    def test_the_login_forms_answer_may_lead_to_the_dagster_ui_only(self, anonymous):
        assert directives(anonymous.get("/login"))["form-action"] == "'self' http://127.0.0.1:8701"

    def test_browsers_name_the_origin_of_a_form(self, anonymous):
        # With `no-referrer` they would send `Origin: null`.
        assert anonymous.get("/login").headers["Referrer-Policy"] == "same-origin"


def directives(answer) -> dict[str, str]:
    parts = answer.headers["Content-Security-Policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://tenant.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8700.evil.example"},
    {"Origin": "http://["},
    {"Origin": ""},
]
OUR_OWN = [
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8700"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": OWN},
    {"Origin": "http://testserver"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8701"},
    {},
]


class TestOtherSites:
    @pytest.mark.parametrize("headers", FOREIGN)
    def test_cannot_sign_a_person_in(self, anonymous: TestClient, user, headers: dict):
        answer = log_in(anonymous, headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        for path in ("login", "signup"):
            body = FORM | ({"org_name": "Acme"} if path == "signup" else {})
            answer = anonymous.post(f"/api/v1/auth/{path}", json=body, headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize("headers", OUR_OWN)
    def test_the_platforms_own_pages_can(self, anonymous: TestClient, user, headers: dict):
        assert log_in(anonymous, headers).status_code == 303

    @pytest.mark.parametrize("headers", FOREIGN)
    def test_cannot_sign_a_person_out(self, anonymous: TestClient, user, headers: dict):
        log_in(anonymous)
        assert anonymous.post("/logout", headers=headers).status_code == 403
        assert anonymous.get("/internal/v1/session").status_code == 200

    def test_listed_origins_may(self, app, make_settings, user):
        app.state.settings = make_settings(cors_origins="https://console.example.com")
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://console.example.com"}
        with TestClient(app) as client:
            answer = client.post("/api/v1/auth/login", json=FORM, headers=headers)
        assert answer.status_code == 200


class TestLogout:
    def test_ends_the_session_of_the_cookie(self, anonymous: TestClient, user):
        log_in(anonymous)
        cookie = anonymous.cookies["datanika_session"]
        assert anonymous.get("/logout").status_code == 200
        assert anonymous.get("/internal/v1/session").status_code == 200, "a link alone ends nothing"
        answer = anonymous.post("/logout", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "datanika_session" not in anonymous.cookies
        headers = {"Cookie": f"datanika_session={cookie}"}
        assert anonymous.get("/internal/v1/session", headers=headers).status_code == 401

    @pytest.mark.parametrize("cookie", [None, "x.y.z"])
    def test_without_a_session_is_no_error(self, anonymous: TestClient, cookie: str | None):
        headers = {"Cookie": f"datanika_session={cookie}"} if cookie else {}
        answer = anonymous.post("/logout", headers=headers, follow_redirects=False)
        assert answer.status_code == 303
