"""Size limit, addresses behind proxies, CORS and headers, as a client sees them."""

import ipaddress
import logging
import socket
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from control_plane.core.middleware import forwarded_address
from control_plane.settings import Settings
from tests.fixtures.applications import make_app
from tests.fixtures.control_plane import LiveApi

PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
LOGIN = "/api/v1/auth/login"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1, 203.0.113.9, 10.0.0.7"], "203.0.113.9"),
        (["1.1.1.1", "203.0.113.9, fd00::1"], "203.0.113.9"),
        (["2001:db8::5"], "2001:db8::5"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (["'; drop table"], None),
        (["nonsense, 10.0.0.2"], "10.0.0.2"),
        ([], None),
    ],
)
def test_the_first_hop_that_no_proxy_of_ours_vouches_for(headers: list[str], expected: str | None):
    assert forwarded_address(headers, PROXIES) == expected


@pytest.mark.parametrize(
    ("peer", "logged"), [("10.1.2.3", "203.0.113.9"), ("192.0.2.1", "192.0.2.1")]
)
def test_only_trusted_proxies_say_who_called(app, make_settings, session, peer: str, logged: str):
    trusting = make_app(make_settings(trusted_proxies="10.0.0.0/8"))
    trusting.state.session_factory = app.state.session_factory
    trusting.state.vault = app.state.vault
    body = {"email": f"{peer}@example.com", "password": "correct horse battery", "org_name": "X"}
    with TestClient(trusting, client=(peer, 50000)) as client:
        answer = client.post(
            "/api/v1/auth/signup", json=body, headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}
        )
        assert answer.status_code == 201
        key = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        org = answer.json()["org"]["slug"]
        made = client.post(
            f"/api/v1/orgs/{org}/api-keys",
            json={"name": "k", "scopes": ["runs:read"]},
            headers={**key, "X-Forwarded-For": "6.6.6.6, 203.0.113.9"},
        )
        assert made.status_code == 201
        entries = client.get(f"/api/v1/orgs/{org}/audit?resource_type=api_key", headers=key)
    assert entries.json()["data"][0]["ip_address"] == logged


class TestSize:
    def test_a_body_that_is_announced_too_large_is_not_read(self, anonymous: TestClient):
        answer = anonymous.post(LOGIN, content=b"x" * 1_048_577)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    def test_nor_one_that_comes_in_pieces(self, live_api: LiveApi):
        port = int(live_api.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(
                b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            for _ in range(20):
                try:
                    connection.sendall(piece)
                except OSError:
                    break
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    def test_the_largest_body_is_judged_by_its_content(self, anonymous: TestClient):
        answer = anonymous.post(LOGIN, content=b" " * 1_048_576)
        assert answer.status_code == 422

    def test_the_form_of_the_login_page_too(self, anonymous: TestClient):
        answer = anonymous.post("/login", data={"email": "a", "password": "x" * 1_048_577})
        assert answer.status_code == 413


class TestCrossOrigin:
    ORIGIN = "https://console.example.com"

    def preflight(self, client: TestClient) -> dict[str, str]:
        headers = {
            "Origin": self.ORIGIN,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization,if-match,x-api-key",
        }
        return dict(client.options("/api/v1/orgs/x", headers=headers).headers)

    def test_closed_by_default(self, anonymous: TestClient):
        assert not [name for name in self.preflight(anonymous) if name.startswith("access-control")]

    def test_open_for_the_origins_of_the_settings(self, make_settings: Callable[..., Settings]):
        client = TestClient(make_app(make_settings(cors_origins=self.ORIGIN)))
        headers = self.preflight(client)
        assert headers["access-control-allow-origin"] == self.ORIGIN
        assert "access-control-allow-credentials" not in headers
        other = client.get("/health", headers={"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in other.headers


class TestHeaders:
    def test_nothing_may_frame_or_run(self, anonymous: TestClient):
        headers = anonymous.get("/health").headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-frame-options"] == "DENY"
        assert "strict-transport-security" not in headers

    def test_the_documentation_loads_from_here_alone(self, anonymous: TestClient):
        policy = anonymous.get("/docs").headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "http" not in policy

    def test_https_is_kept(self, make_settings: Callable[..., Settings]):
        client = TestClient(make_app(make_settings(public_url="https://data.example.com")))
        assert client.get("/health").headers["strict-transport-security"] == "max-age=31536000"

    def test_an_unexpected_error_has_them_too(self, app, caplog: pytest.LogCaptureFixture):
        @app.get("/broken")
        def broken() -> None:
            raise RuntimeError("boom")

        with (
            TestClient(app, raise_server_exceptions=False) as client,
            caplog.at_level(logging.INFO, "control_plane"),
        ):
            answer = client.get("/broken")
        assert answer.status_code == 500
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-trace-id"] == answer.json()["trace_id"]
        assert "GET /broken 500" in caplog.text


def test_a_path_cannot_forge_a_log_line(anonymous: TestClient, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "control_plane.requests"):
        anonymous.get("/x%0a2026-01-01%20INFO%20forged%1b[31m?token=hidden")
    (record,) = [r for r in caplog.records if r.name == "control_plane.requests"]
    assert "\n" not in record.getMessage()
    assert "\x1b" not in record.getMessage()
    assert "hidden" not in record.getMessage()
