"""Which cookies browsers send over TLS alone."""

import pytest

from control_plane.access.session_cookie import is_cookie_secure

LAN = "http://data.lan:8700"


@pytest.mark.parametrize(
    "public_url",
    [
        "https://data.example.com",
        "https://127.0.0.1:8700",
        "HTTPS://data.example.com",
        LAN,
        "http://192.168.1.20:8700",
        "http://[2001:db8::1]:8700",
        "http://0.0.0.0:8700",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@data.lan",
        "data.lan:8700",
        "",
    ],
)
def test_everywhere_else_cookies_need_tls(make_settings, public_url: str):
    assert is_cookie_secure(make_settings(public_url=public_url))


@pytest.mark.parametrize(
    "public_url",
    ["http://127.0.0.1:8700", "http://127.9.9.9", "http://[::1]:8700", "http://LocalHost:8700"],
)
def test_on_loopback_plain_http_does(make_settings, public_url: str):
    assert not is_cookie_secure(make_settings(public_url=public_url))
