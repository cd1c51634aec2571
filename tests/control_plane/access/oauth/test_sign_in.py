"""A sign-in by a provider that goes well, over real HTTP and with a real provider."""

import json
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from control_plane.access.oauth.models import OAuthCode
from control_plane.access.users.service import make_operator
from control_plane.audit.models import AuditEntry, PlatformAuditEntry
from control_plane.core.tokens import hash_token
from control_plane.core.trust import public_authorities
from tests.control_plane.access.oauth.conftest import (
    CONSOLE,
    Browser,
    Platform,
    code_of,
    error_of,
    query_of,
)
from tests.fixtures.applications import make_app

PROVIDERS = ("google", "github")


@pytest.mark.parametrize("provider", PROVIDERS)
class TestNewAccount:
    def test_gets_a_user_with_an_org_of_its_own(self, platform: Platform, browser, provider):
        person = platform.as_person(provider, name="Bea Example")
        body = browser.tokens(provider)
        assert body["is_new"] is True
        assert body["user"]["email"] == person.email
        assert [(org["name"], org["role"]) for org in body["orgs"]] == [("Bea Example", "owner")]
        me = platform.call("GET", "/auth/me", body["access_token"]).json()
        assert me["user"]["id"] == body["user"]["id"]
        # The org is a whole one: it can keep secrets.
        org = body["orgs"][0]["slug"]
        assert platform.call("GET", f"/orgs/{org}", body["access_token"]).status_code == 200

    def test_is_the_same_next_time_also_with_another_address(self, platform, browser, provider):
        first = browser.tokens(provider)
        person = platform.provider(provider).person
        person.email = f"moved-{person.email}"
        person.is_email_verified = False
        again = platform.browser().tokens(provider)
        assert again["is_new"] is False
        assert again["user"] == first["user"], "the address here does not move with the provider's"

    def test_has_no_password(self, platform: Platform, browser: Browser, provider):
        email = browser.tokens(provider)["user"]["email"]
        answer = httpx.post(
            f"{platform.url}/api/v1/auth/login",
            json={"email": email, "password": "x" * 12},
            trust_env=False,
            verify=public_authorities(),
        )
        assert answer.status_code == 401

    def test_an_address_in_capitals_is_one_account(self, platform, browser, provider):
        person = platform.as_person(provider)
        person.email = person.email.upper()
        assert browser.tokens(provider)["user"]["email"] == person.email.lower()


class TestRedirects:
    def test_the_provider_is_asked_with_state_nonce_and_pkce(self, platform, browser):
        url = browser.start("google")
        query = query_of(url)
        assert url.startswith(f"{platform.google.url}/authorize?")
        assert query["code_challenge_method"] == "S256"
        assert query["redirect_uri"] == f"{platform.url}/api/auth/callback/google"
        assert query["response_type"] == "code"
        assert all(len(query[name]) >= 43 for name in ("state", "nonce", "code_challenge"))
        other = query_of(platform.browser().start("google"))
        assert all(query[n] != other[n] for n in ("state", "nonce", "code_challenge"))

    def test_the_cookie_is_the_browsers_alone(self, platform: Platform, browser: Browser):
        answer = browser.get("/api/auth/login/github", return_to=CONSOLE)
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/api/auth" in cookie
        assert "Max-Age=600" in cookie
        assert "Secure" not in cookie, "plain http on loopback"
        assert answer.headers["cache-control"] == "no-store"
        done = browser.visit(browser.consent(answer.headers["location"]))
        assert 'datanika_oauth="";' in done.headers["set-cookie"]
        assert "Max-Age=0" in done.headers["set-cookie"]

    def test_the_cookie_is_for_tls_alone_where_there_is_tls(self, make_settings):
        settings = make_settings(
            public_url="https://data.example.com",
            dagster_public_url="https://data.example.com/dagster",
            GITHUB_CLIENT_ID="id",
            GITHUB_CLIENT_SECRET="canary-secret",
        )
        with TestClient(make_app(settings), base_url="https://data.example.com") as client:
            answer = client.get("/api/auth/login/github", follow_redirects=False)
        assert "Secure" in answer.headers["set-cookie"]
        assert answer.headers["location"].startswith("https://github.com/login/oauth/authorize?")
        redirect_uri = query_of(answer.headers["location"])["redirect_uri"]
        assert redirect_uri == "https://data.example.com/api/auth/callback/github"
        assert "canary" not in answer.headers["location"]

    def test_tokens_are_never_in_a_url(self, platform: Platform, browser: Browser):
        answer = browser.sign_in("google")
        assert query_of(answer.headers["location"]).keys() == {"code"}
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize("return_to", [None, "/docs", "own"])
    def test_own_pages_are_reached_with_the_cookie(self, platform, browser, return_to):
        target = {
            None: f"{platform.url}/welcome",
            "/docs": f"{platform.url}/docs",
            "own": f"{platform.url}/docs?a=b",
        }[return_to]
        wanted = target if return_to == "own" else return_to
        answer = browser.sign_in("google", wanted)
        location = answer.headers["location"]
        assert answer.status_code == 303
        assert location.startswith("/login/oauth?code=dto_")
        last = browser.visit(location)
        assert (last.status_code, last.headers["location"]) == (303, target)
        assert browser.http.cookies.get("datanika_session")
        session = browser.get("/internal/v1/session").json()
        assert session["email"] == platform.google.person.email

    @pytest.mark.parametrize("is_operator", [True, False])
    def test_the_dagster_ui_lets_everybody_in(self, platform, browser, is_operator: bool):
        wanted = f"{platform.settings.dagster_public_url}/runs?x=1&y=2"
        if is_operator:
            email = browser.tokens("google")["user"]["email"]
            with platform.transaction() as session:
                make_operator(session, email)
        last = browser.visit(browser.sign_in("google", wanted).headers["location"])
        assert last.status_code == 303
        assert last.headers["location"] == wanted
        assert browser.get("/welcome").status_code == 200


class TestExchange:
    def test_stores_only_the_codes_hash(self, platform: Platform, browser, committed):
        code = browser.code("google")
        row = committed.scalar(select(OAuthCode).where(OAuthCode.code_hash == hash_token(code)))
        assert row is not None
        assert row.provider == "google"
        assert (row.expires_at - row.created_at).total_seconds() <= 61
        assert code not in json.dumps(
            [str(getattr(row, column.key)) for column in OAuthCode.__table__.columns]
        )

    def test_a_page_of_another_site_gets_no_cookie(self, platform: Platform, browser: Browser):
        code = browser.code("google")
        answer = httpx.post(
            f"{platform.url}/api/v1/auth/oauth/exchange",
            json={"code": code},
            headers={"Origin": "https://console.example.com", "Sec-Fetch-Site": "cross-site"},
            trust_env=False,
            verify=public_authorities(),
        )
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers


class TestAudit:
    def test_sign_up_and_login_are_in_both_logs(self, platform: Platform, browser, committed):
        body = browser.tokens("github")
        user_id = body["user"]["id"]
        wanted = ("sign_up", {"email": body["user"]["email"], "provider": "github"})
        entries = committed.scalars(
            select(PlatformAuditEntry)
            .where(PlatformAuditEntry.actor_id == user_id)
            .order_by(PlatformAuditEntry.id)
        ).all()
        assert [(e.action, e.new_values) for e in entries] == [
            wanted,
            ("login", {"provider": "github"}),
        ]
        assert all(e.ip_address == "127.0.0.1" and e.request_id for e in entries)
        with platform.transaction(body["orgs"][0]["id"]) as session:
            actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
        assert actions == ["create", "sign_up", "login"]

    def test_refusals_are_in_both_logs(self, platform: Platform, browser, committed):
        person = platform.as_person("google", is_email_verified=False)
        account = platform.sign_up(person.email)
        assert error_of(browser.sign_in("google")) == "oauth_email_unverified"
        wanted = {"provider": "google", "because": "oauth_email_unverified"}
        assert self.failures_of(committed, person.email) == [(None, wanted)]
        with platform.transaction(account["org"]["id"]) as session:
            actions = session.scalars(select(AuditEntry.action)).all()
        assert "login_failed" in actions, "the owner sees that somebody tried"

    def test_a_failing_provider_is_in_the_platforms_log(self, platform, browser, committed):
        before = len(self.failures_of(committed, ""))
        platform.google.claims = {"nonce": "another"}
        error_of(browser.sign_in("google"))
        failures = self.failures_of(committed, "")[before:]
        assert failures == [(None, {"provider": "google", "because": "oauth_provider_failed"})]

    @staticmethod
    def failures_of(session, name: str) -> list[tuple]:
        session.expire_all()
        rows = session.execute(
            select(PlatformAuditEntry.actor_id, PlatformAuditEntry.new_values)
            .where(
                PlatformAuditEntry.action == "login_failed", PlatformAuditEntry.actor_name == name
            )
            .order_by(PlatformAuditEntry.id)
        )
        return [tuple(row) for row in rows]


class TestProvidersList:
    def test_says_how_to_sign_in(self, platform: Platform, browser: Browser):
        assert browser.get("/api/v1/auth/providers").json() == {
            "providers": ["google", "github"],
            "recaptcha_site_key": None,
            "sign_up": "open",
        }

    def test_leaves_out_what_is_not_configured(self, anonymous):
        assert anonymous.get("/api/v1/auth/providers").json()["providers"] == []
        answer = anonymous.get("/api/auth/login/google", follow_redirects=False)
        assert answer.status_code == 404
        assert "not set up" in answer.text

    def test_unknown_providers_are_a_page(self, platform: Platform, browser: Browser):
        answer = browser.get("/api/auth/login/<script>")
        assert answer.status_code == 404
        assert "<script>" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


class TestRefusalAtTheProvider:
    @pytest.mark.parametrize(
        ("refusal", "code"),
        [
            ("access_denied", "oauth_access_denied"),
            ("server_error", "oauth_provider_failed"),
            ("<script>alert(1)</script>", "oauth_provider_failed"),
        ],
    )
    def test_comes_back_as_an_error_code(self, platform: Platform, browser, refusal, code):
        platform.google.refusal = refusal
        answer = browser.sign_in("google")
        assert error_of(answer) == code
        assert "canary" not in answer.headers["location"]
        page = browser.sign_in("google", "/docs")
        assert page.status_code in (403, 502)
        assert code in page.text
        assert "canary" not in page.text
        assert "<script>" not in page.text

    def test_a_fresh_sign_in_works_afterwards(self, platform: Platform, browser: Browser):
        platform.google.refusal = "access_denied"
        error_of(browser.sign_in("google"))
        platform.google.refusal = None
        assert code_of(browser.sign_in("google"))


def test_the_page_links_to_the_login(platform: Platform, browser: Browser):
    platform.google.refusal = "access_denied"
    page = browser.sign_in("google", f"{platform.settings.dagster_public_url}/runs")
    assert '<a href="/login?next=' in page.text
    assert urlsplit(platform.settings.dagster_public_url).netloc.replace(":", "%3A") in page.text
