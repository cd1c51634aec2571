"""Where a sign-in may lead, and the many ways to write somewhere else."""

from urllib.parse import urlsplit

import pytest

from control_plane.access.oauth.return_urls import ReturnUrls, add_query
from control_plane.core.errors import Invalid
from tests.control_plane.access.oauth.conftest import CONSOLE, Browser, Platform

PLATFORM = "https://data.example.com"
DAGSTER = "https://data.example.com:8443/dagster"
REFUSED = [
    "//evil.com",
    "///evil.com",
    "/\\evil.com",
    "\\\\evil.com",
    "\\evil.com",
    "/\t/evil.com",
    "/\n/evil.com",
    "/\r/evil.com",
    "/\x00/evil.com",
    "\t//evil.com",
    " //evil.com",
    " https://data.example.com/",
    "https://evil.com",
    "https:evil.com",
    "https:/evil.com",
    "https:///evil.com",
    "HTTPS://data.example.com/",
    "http://data.example.com/",
    "ftp://data.example.com/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "https://data.example.com.evil.com/",
    "https://data.example.comevil.com/",
    "https://data.example.com@evil.com/",
    "https://data.example.com:pass@evil.com/",
    "https://data.example.com:8443@evil.com/",
    "https://user@data.example.com/",
    "https://data.example.com:444/",
    "https://data.example.com:84430/",
    "https://data.example.com\\@evil.com/",
    "https://data.example.com\\.evil.com/",
    "https://data.example.com%2f@evil.com/",
    "https://data.example.com#@evil.com/",
    "https://data.example.com?@evil.com/",
    "https://data.example.com;evil.com",
    "https://data.example.com./",
    "https://data.example.com\u3002evil.com/",
    "https://data\u2024example.com/",
    "/ok\u2028",
    "/ok path",
    "/ok<script>",
    '/ok"',
    "/" + "a" * 1000,
    "relative",
    "./relative",
    "?query",
    "#fragment",
    "https://console.example.com/oauth/",
    "https://console.example.com/oauth?x=1",
    "https://console.example.com/other",
    "https://console.example.com/oauth#x",
    "https://console.example.com/OAUTH",
]
ACCEPTED = {
    None: f"{PLATFORM}/welcome",
    "": f"{PLATFORM}/welcome",
    "/": f"{PLATFORM}/",
    "/runs?a=b&c=%2F#d": f"{PLATFORM}/runs?a=b&c=%2F#d",
    "/a//b": f"{PLATFORM}/a//b",
    "/@evil.com": f"{PLATFORM}/@evil.com",
    "/%09/evil.com": f"{PLATFORM}/%09/evil.com",
    "/https://evil.com": f"{PLATFORM}/https://evil.com",
    PLATFORM: PLATFORM,
    f"{PLATFORM}/x": f"{PLATFORM}/x",
    f"{PLATFORM}//evil.com": f"{PLATFORM}//evil.com",
    DAGSTER: DAGSTER,
    "https://data.example.com:8443/other": "https://data.example.com:8443/other",
}


@pytest.fixture
def return_urls(make_settings) -> ReturnUrls:
    return ReturnUrls(
        make_settings(
            public_url=f"{PLATFORM}/", dagster_public_url=DAGSTER, oauth_return_urls=CONSOLE
        )
    )


@pytest.mark.parametrize("url", REFUSED)
def test_elsewhere_is_refused(return_urls: ReturnUrls, url: str):
    with pytest.raises(Invalid) as refusal:
        return_urls.check(url)
    assert refusal.value.errors[0].pointer == "/return_to"
    assert url not in refusal.value.detail


@pytest.mark.parametrize("url", ACCEPTED)
def test_own_pages_are_accepted(return_urls: ReturnUrls, url: str | None):
    found = return_urls.check(url)
    assert (found.url, found.is_own) == (ACCEPTED[url], True)
    assert urlsplit(found.url).hostname == "data.example.com", "also as Python reads it"


def test_listed_urls_are_accepted_exactly(return_urls: ReturnUrls):
    found = return_urls.check(CONSOLE)
    assert (found.url, found.is_own) == (CONSOLE, False)


def test_a_query_is_put_before_the_fragment():
    assert add_query("https://a/b?c=d#/e", code="x y") == "https://a/b?c=d&code=x+y#/e"
    assert add_query("/login/oauth", code="x", next="https://a/?b=c&d") == (
        "/login/oauth?code=x&next=https%3A%2F%2Fa%2F%3Fb%3Dc%26d"
    )


@pytest.mark.parametrize("url", [url for url in REFUSED if "\x00" not in url])
def test_no_sign_in_starts_for_elsewhere(platform: Platform, browser: Browser, url: str):
    """The same over HTTP, where `data.example.com` is not the platform's either."""
    answer = browser.get("/api/auth/login/google", return_to=url)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert "evil" not in answer.text
