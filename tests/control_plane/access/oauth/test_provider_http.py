"""Providers that are down, slow, too talkative or send people elsewhere."""

import asyncio
import gzip
import time

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from control_plane.access.oauth import google, provider_http
from control_plane.access.oauth.code_flow import Challenge
from control_plane.access.oauth.errors import ProviderFailed
from control_plane.access.oauth.provider_http import ProviderHttp
from control_plane.access.oauth.registry import SignInProviders
from control_plane.core.errors import Throttled
from tests.control_plane.access.oauth.conftest import Browser, Platform, error_of
from tests.control_plane.access.oauth.provider_servers import IssuerServer, served
from tests.fixtures.ports import free_port


@pytest.fixture
def http():
    client = ProviderHttp("Google")
    yield client
    client.close()


def reason(http: ProviderHttp, url: str) -> str:
    with pytest.raises(ProviderFailed) as failure:
        http.get_json(url)
    return failure.value.detail


CHALLENGE = Challenge("state", "nonce", "v" * 43)


class TestAnswers:
    PATH = "/jwks"

    def test_nobody_listens(self, http: ProviderHttp):
        url = f"http://127.0.0.1:{free_port()}/canary"
        assert reason(http, url) == "Google cannot be reached."

    @pytest.mark.parametrize("url", ["http://", "http://[", "nonsense", "file:///etc/passwd"])
    def test_urls_that_are_none(self, http: ProviderHttp, url: str):
        assert reason(http, url) == "Google cannot be reached."

    @pytest.mark.parametrize("status", [201, 302, 401, 404, 500, 503])
    def test_another_status(self, http: ProviderHttp, platform: Platform, status: int):
        platform.google.spoilt[self.PATH] = JSONResponse({}, status)
        url = platform.google.url + self.PATH
        assert reason(http, url) == f"Google answered with status {status}."

    def test_redirects_are_not_followed(self, http: ProviderHttp, platform: Platform):
        platform.google.spoilt[self.PATH] = RedirectResponse(f"{platform.github.url}/api/user")
        assert "status 307" in reason(http, platform.google.url + self.PATH)
        assert platform.github.requests == []

    @pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff\xfe", b"[" * 100_000])
    def test_no_json(self, http: ProviderHttp, platform: Platform, body: bytes):
        platform.google.spoilt[self.PATH] = Response(body, media_type="application/json")
        assert "else than JSON" in reason(http, platform.google.url + self.PATH)

    def test_too_much(self, http: ProviderHttp, platform: Platform):
        sent = 0

        async def talkative():
            nonlocal sent
            for _ in range(1000):
                sent += 65_536
                yield b" " * 65_536
                # Without a pause the server would not notice that nobody listens any more.
                await asyncio.sleep(0.001)

        platform.google.spoilt[self.PATH] = StreamingResponse(talkative())
        assert "too much" in reason(http, platform.google.url + self.PATH)
        time.sleep(0.2)
        assert sent < 500 * 65_536, "it was not read to its end"

    def test_a_compressed_bomb_is_not_opened(self, http: ProviderHttp, platform: Platform):
        platform.google.spoilt[self.PATH] = Response(
            gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"}
        )
        assert "encoding" in reason(http, platform.google.url + self.PATH)

    def test_too_slow(self, http: ProviderHttp, platform: Platform, monkeypatch):
        monkeypatch.setattr(provider_http, "DEADLINE_SECONDS", 0.2)

        async def dripping():
            for _ in range(100):
                yield b" "
                await asyncio.sleep(0.05)

        platform.google.spoilt[self.PATH] = StreamingResponse(dripping())
        started_at = time.monotonic()
        assert "in time" in reason(http, platform.google.url + self.PATH)
        assert time.monotonic() - started_at < 2

    def test_cookies_are_not_kept(self, http: ProviderHttp, platform: Platform):
        seen: list[bytes] = []
        answer = JSONResponse({})
        answer.set_cookie("somebody", "else")

        async def noting(scope, receive, send):
            seen.extend(value for name, value in scope["headers"] if name == b"cookie")
            await answer(scope, receive, send)

        platform.google.spoilt[self.PATH] = noting
        for _ in range(2):
            http.get_json(platform.google.url + self.PATH)
        assert seen == []

    def test_the_environments_proxy_is_not_used(self, platform: Platform, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
        client = ProviderHttp("Google")
        assert client.get_json(platform.google.url + self.PATH)["keys"]
        client.close()

    def test_a_slow_provider_does_not_take_every_thread(self, http, platform, monkeypatch):
        monkeypatch.setattr(http, "_places", provider_http.threading.BoundedSemaphore(1))
        with http._place(), pytest.raises(Throttled):
            http.get_json(platform.google.url + self.PATH)
        assert http.get_json(platform.google.url + self.PATH)["keys"]


class TestSignIn:
    @pytest.mark.parametrize(
        ("provider", "path"),
        [
            ("google", "/token"),
            ("github", "/login/oauth/access_token"),
            ("github", "/api/user"),
            ("github", "/api/user/emails"),
        ],
    )
    @pytest.mark.parametrize("status", [400, 500])
    def test_fails_with_the_reason_and_no_detail(self, platform, browser, provider, path, status):
        platform.provider(provider).spoilt[path] = Response("canary-of-the-provider", status)
        assert error_of(browser.sign_in(provider)) == "oauth_provider_failed"
        page = browser.sign_in(provider, "/docs")
        assert page.status_code == 502
        assert "canary" not in page.text
        platform.provider(provider).spoilt.clear()
        assert browser.tokens(provider), "and works again"


class TestDiscovery:
    """Its own issuer and platform: what is cached belongs to them."""

    @pytest.fixture
    def issuer(self):
        issuer = IssuerServer("http://127.0.0.1/unused")
        with served(issuer.app(), issuer.port):
            yield issuer

    @pytest.fixture
    def provider(self, issuer: IssuerServer, make_settings):
        settings = make_settings(
            google_issuer=issuer.url, GOOGLE_CLIENT_ID="id", GOOGLE_CLIENT_SECRET="canary-secret"
        )
        providers = SignInProviders(settings)
        yield providers.get("google")
        providers.close()

    @pytest.mark.parametrize(
        "discovery",
        [
            {"issuer": "https://evil.example.com"},
            {"issuer": None},
            {"token_endpoint": "ftp://a/b"},
            {"token_endpoint": "nonsense"},
            {"jwks_uri": "file:///etc/passwd"},
            {"authorization_endpoint": "javascript:alert(1)"},
            {"authorization_endpoint": 7},
        ],
        ids=str,
    )
    def test_a_document_that_is_wrong_is_refused(self, issuer, provider, discovery):
        issuer.discovery = discovery
        with pytest.raises(ProviderFailed):
            provider.authorization_url(CHALLENGE)
        issuer.discovery = {}
        assert provider.authorization_url(CHALLENGE), "nothing wrong was kept"

    def test_an_issuer_with_tls_names_no_endpoint_without(self, provider):
        provider._issuer = "https://issuer.example.com"
        with pytest.raises(ProviderFailed, match="without TLS"):
            provider._check_scheme("http://issuer.example.com/token")
        provider._check_scheme("https://elsewhere.example.com/token")

    def test_is_fetched_once_an_hour(self, issuer, provider, monkeypatch):
        for _ in range(3):
            provider.authorization_url(CHALLENGE)
        assert len(issuer.requests) == 1
        monkeypatch.setattr(google, "CACHE_SECONDS", 0.0)
        provider.authorization_url(CHALLENGE)
        assert len(issuer.requests) == 2

    def test_an_issuer_that_names_itself_must(self, issuer, provider):
        """RFC 9207: where it says that it does, a callback without is another's."""
        issuer.discovery = {"authorization_response_iss_parameter_supported": True}
        with pytest.raises(ProviderFailed, match="not from the issuer"):
            provider.fetch_account(google.Callback("code"), CHALLENGE)

    def test_a_start_fails_while_it_is_down(self, platform: Platform, browser: Browser, provider):
        providers = platform.app.state.sign_in_providers._providers
        known = providers["google"]
        providers["google"] = provider
        provider._http.close()
        provider._issuer = f"http://127.0.0.1:{free_port()}"
        provider._http = ProviderHttp("Google")
        try:
            answer = browser.get("/api/auth/login/google", return_to="/docs")
        finally:
            providers["google"] = known
        assert answer.status_code == 502
        assert "Google cannot be reached." in answer.text
        assert "canary" not in answer.text
