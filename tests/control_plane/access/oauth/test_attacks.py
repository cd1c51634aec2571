"""Attacks on the callback: other browsers, other providers, other keys."""

import base64
import dataclasses
import hashlib
import hmac
import json
import time

import pytest
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse

from control_plane.access.oauth.attempts import LIFETIME, start_attempt
from control_plane.access.oauth.providers import ProviderName
from tests.control_plane.access.oauth.conftest import (
    CONSOLE,
    Browser,
    Platform,
    code_of,
    error_of,
    query_of,
)

COOKIE = "datanika_oauth"


def assert_not_under_way(answer):
    assert answer.status_code == 400
    assert "oauth_attempt_invalid" in answer.text
    assert "location" not in answer.headers


def encoded(values: dict) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=")


def set_cookie(browser: Browser, value: str):
    browser.http.cookies.clear()
    browser.http.cookies.set(COOKIE, value, domain="127.0.0.1", path="/api/auth")


@pytest.mark.parametrize("provider", ["google", "github"])
class TestBinding:
    def test_a_callback_in_another_browser(self, platform: Platform, provider):
        attacker = platform.browser()
        url = attacker.consent(attacker.start(provider))
        victim = platform.browser()
        assert_not_under_way(victim.visit(url))
        victim.start(provider)
        assert_not_under_way(victim.visit(url))

    def test_a_callback_without_or_with_another_state(self, platform, browser, provider):
        url = browser.consent(browser.start(provider))
        state = query_of(url)["state"]
        assert_not_under_way(browser.visit(url.replace(state, "x" + state[1:])))
        browser.start(provider)
        assert_not_under_way(browser.visit(f"/api/auth/callback/{provider}?code=x"))
        browser.start(provider)
        assert_not_under_way(browser.visit(f"/api/auth/callback/{provider}?code=x&state="))
        assert "POST /token" not in platform.google.requests, "no code goes anywhere"

    def test_a_replayed_callback(self, platform: Platform, browser: Browser, provider):
        authorization = browser.start(provider)
        kept = browser.http.cookies.get(COOKIE)
        url = browser.consent(authorization)
        assert code_of(browser.visit(url))
        assert_not_under_way(browser.visit(url))
        # Also where the cookie was kept, and with a fresh code of the provider.
        set_cookie(browser, kept)
        assert_not_under_way(browser.visit(url))
        set_cookie(browser, kept)
        assert_not_under_way(browser.visit(browser.consent(authorization)))

    def test_a_callback_of_the_other_provider(self, platform, browser, provider):
        """Mix-up: a code of one provider is never sent to the other."""
        other = "github" if provider == "google" else "google"
        url = browser.consent(browser.start(provider))
        platform.provider(other).requests.clear()
        assert_not_under_way(browser.visit(url.replace(f"/{provider}?", f"/{other}?")))
        assert platform.provider(other).requests == []


class TestCookie:
    @pytest.mark.parametrize("change", ["return_to", "provider", "expires_at", "state"])
    def test_a_changed_one_is_refused(self, platform: Platform, browser: Browser, change):
        url = browser.consent(browser.start("google"))
        body, _, signature = browser.http.cookies.get(COOKIE).partition(".")
        values = json.loads(base64.urlsafe_b64decode(body + "=="))
        evil = {
            "return_to": "https://evil.example.com",
            "provider": "github",
            "expires_at": 2**40,
            "state": "s",
        }
        values[change] = evil[change]
        set_cookie(browser, f"{encoded(values).decode()}.{signature}")
        assert_not_under_way(browser.visit(url))

    @pytest.mark.parametrize("value", ["", ".", "a.b", "é.é", "x" * 4090, "e30.e30"])
    def test_nonsense_is_refused(self, platform: Platform, browser: Browser, value):
        url = browser.consent(browser.start("google"))
        browser.http.cookies.clear()
        header = {"Cookie": f"{COOKIE}={value}".encode()}
        assert_not_under_way(browser.http.get(url, headers=header))

    def test_one_of_another_installation_is_refused(self, platform: Platform, browser: Browser):
        url = browser.consent(browser.start("google"))
        attempt = platform.signer().read(
            browser.http.cookies.get(COOKIE), "google", query_of(url)["state"]
        )
        set_cookie(
            browser, type(platform.signer())("another key of 32 bytes, or more").sign(attempt)
        )
        assert_not_under_way(browser.visit(url))

    def test_one_that_is_too_old_is_refused(self, platform: Platform, browser: Browser):
        attempt = start_attempt(ProviderName.GOOGLE, CONSOLE)
        assert attempt.expires_at <= time.time() + LIFETIME.total_seconds()
        old = dataclasses.replace(attempt, expires_at=int(time.time()))
        path = f"/api/auth/callback/google?code=x&state={attempt.state}"
        set_cookie(browser, platform.signer().sign(old))
        assert_not_under_way(browser.visit(path))
        set_cookie(browser, platform.signer().sign(attempt))
        assert error_of(browser.visit(path)) == "oauth_provider_failed", "it was the age"

    def test_a_return_url_that_is_not_allowed_any_more_is_refused(self, platform, browser):
        attempt = start_attempt(ProviderName.GOOGLE, "https://evil.example.com/")
        set_cookie(browser, platform.signer().sign(attempt))
        answer = browser.visit(f"/api/auth/callback/google?code=x&state={attempt.state}")
        assert answer.status_code == 422
        assert "location" not in answer.headers

    def test_the_signer_hides_its_keys(self, platform: Platform):
        assert repr(platform.signer()) == "AttemptSigner(***)"


class TestPkce:
    def test_a_stolen_provider_code_is_of_no_use(self, platform: Platform):
        """The attacker injects a victim's code into a sign-in of their own."""
        victim, attacker = platform.browser(), platform.browser()
        stolen = query_of(victim.consent(victim.start("google")))["code"]
        own = query_of(attacker.consent(attacker.start("google")))
        answer = attacker.visit(f"/api/auth/callback/google?code={stolen}&state={own['state']}")
        assert error_of(answer) == "oauth_provider_failed"

    @pytest.mark.parametrize("provider", ["google", "github"])
    def test_a_downgrade_of_the_challenge_fails(self, platform, browser, provider):
        """A challenge that was taken out or replaced on the way makes the token endpoint refuse."""
        url = browser.start(provider)
        challenge = query_of(url)["code_challenge"]
        callback = browser.consent(url.replace(challenge, "A" * 43))
        assert error_of(browser.visit(callback)) == "oauth_provider_failed"
        plain = platform.browser()
        refused = plain.http.get(plain.start(provider).replace("=S256", "=plain"))
        assert refused.status_code == 400


class TestIdToken:
    @pytest.mark.parametrize(
        "claims",
        [
            {"nonce": "another"},
            {"nonce": None},
            {"nonce": ["a"]},
            {"aud": "another-client"},
            {"aud": None},
            {"iss": "https://accounts.example.com"},
            {"iss": None},
            {"azp": "another-client"},
            {"exp": 1_700_000_000},
            {"exp": None},
            {"exp": "soon"},
            {"iat": None},
            {"iat": 2**33},
            {"sub": None},
            {"sub": ""},
            {"sub": 7},
            {"sub": "x" * 256},
            {"sub": "a\x00"},
        ],
        ids=lambda claims: str(claims)[:40],
    )
    def test_with_a_wrong_claim_is_refused(self, platform: Platform, browser: Browser, claims):
        platform.google.claims = claims
        assert error_of(browser.sign_in("google")) == "oauth_provider_failed"

    def test_for_others_too_is_refused(self, platform: Platform, browser: Browser):
        platform.google.claims = {"aud": [platform.google.client_id, "another"]}
        assert error_of(browser.sign_in("google")) == "oauth_provider_failed"

    def test_signed_by_another_key_is_refused(self, platform: Platform, browser: Browser):
        kid = platform.google.key.kid
        platform.google.key = RSAKey.import_key(RSAKey.generate_key(2048).as_dict(), {"kid": kid})
        assert error_of(browser.sign_in("google")) == "oauth_provider_failed"

    def test_with_the_public_key_as_a_shared_secret_is_refused(self, platform, browser):
        public = platform.google.key.as_pem(private=False)

        def forge(grant):
            header = {"alg": "HS256", "kid": platform.google.key.kid}
            parts = [encoded(header), encoded(platform.google.honest_claims(grant))]
            signature = hmac.digest(public, b".".join(parts), hashlib.sha256)
            parts.append(base64.urlsafe_b64encode(signature).rstrip(b"="))
            return b".".join(parts).decode()

        self.replace_id_token(platform, forge)
        assert error_of(browser.sign_in("google")) == "oauth_provider_failed"
        self.restore(platform)

    @pytest.mark.parametrize("alg", ["none", "None", "RS512", ""])
    def test_of_another_algorithm_is_refused(self, platform: Platform, browser: Browser, alg):
        def forge(grant):
            header = {"alg": alg, "kid": platform.google.key.kid}
            claims = platform.google.honest_claims(grant)
            return b".".join([encoded(header), encoded(claims), b""]).decode()

        self.replace_id_token(platform, forge)
        assert error_of(browser.sign_in("google")) == "oauth_provider_failed"
        self.restore(platform)

    @pytest.mark.parametrize("token", [None, "", "x", "a.b.c", 7, "x" * 200_000])
    def test_that_is_none_is_refused(self, platform: Platform, browser: Browser, token):
        self.replace_id_token(platform, lambda _: token)
        assert error_of(browser.sign_in("google")) == "oauth_provider_failed"
        self.restore(platform)

    def test_of_a_new_key_is_accepted_after_one_more_look(self, platform, browser):
        assert browser.tokens("google")
        platform.google.requests.clear()
        platform.google.key = RSAKey.generate_key(2048, auto_kid=True)
        platform.google.published_keys = [platform.google.key]
        assert platform.browser().tokens("google")
        assert platform.google.requests.count("GET /jwks") == 1
        assert platform.google.requests.count("GET /.well-known/openid-configuration") == 0

    def test_of_a_key_that_nobody_publishes_is_refused(self, platform: Platform, browser):
        platform.google.key = RSAKey.generate_key(2048, auto_kid=True)
        platform.google.requests.clear()
        assert error_of(browser.sign_in("google")) == "oauth_provider_failed"
        assert platform.google.requests.count("GET /jwks") == 1

    @staticmethod
    def replace_id_token(platform: Platform, forge):
        platform.google.more_tokens = lambda grant: {"id_token": forge(grant)}

    @staticmethod
    def restore(platform: Platform):
        del platform.google.more_tokens


class TestIssuer:
    def test_another_issuers_callback_is_refused(self, platform: Platform, browser: Browser):
        url = browser.consent(browser.start("google"))
        answer = browser.visit(f"{url}&iss=https://evil.example.com")
        assert error_of(answer) == "oauth_provider_failed"

    def test_the_right_issuer_is_accepted(self, platform: Platform, browser: Browser):
        url = browser.consent(browser.start("google"))
        assert code_of(browser.visit(f"{url}&iss={platform.google.url}"))


class TestGitHub:
    def test_only_the_primary_address_counts(self, platform: Platform, browser: Browser):
        person = platform.as_person("github", is_email_verified=False)
        platform.github.more_emails = [
            {"email": f"other-{person.email}", "primary": False, "verified": True}
        ]
        assert error_of(browser.sign_in("github")) == "oauth_email_unverified"

    @pytest.mark.parametrize(
        ("path", "answer"),
        [
            ("/api/user", {"login": "ann"}),
            ("/api/user", []),
            ("/api/user/emails", {}),
            ("/api/user/emails", [{"email": "a@example.com"}]),
            ("/login/oauth/access_token", {"access_token": "a\nb", "token_type": "bearer"}),
            ("/login/oauth/access_token", {"token_type": "bearer"}),
            ("/login/oauth/access_token", [1]),
        ],
    )
    def test_answers_that_are_not_understood_fail(self, platform, browser, path, answer):
        platform.github.spoilt[path] = JSONResponse(answer)
        assert error_of(browser.sign_in("github")) == "oauth_provider_failed"
