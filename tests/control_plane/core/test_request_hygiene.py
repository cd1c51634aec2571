"""What a request may be, what is remembered of it in logs, and what nobody may keep of its answer."""

import logging
import re
import socket
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from tests.control_plane.access.conftest import PASSWORD, door, open_door

__all__ = ["door", "open_door"]
CANARY = "canary-9c1f"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture):
    """Every log line of every logger, down to DEBUG, but those of the tests' own HTTP client."""
    caplog.set_level(logging.DEBUG)

    def lines() -> list[str]:
        own = [r for r in caplog.records if not r.name.startswith(("httpx", "httpcore", "asyncio"))]
        return [logging.Formatter("%(message)s").format(record) for record in own]

    return lines


def raw(url: str, request: bytes) -> bytes:
    """Sends bytes as they are and returns the answer."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(request)
        connection.settimeout(10)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


class TestLogs:
    @pytest.mark.parametrize(
        "path",
        [
            b"/x%0a2026-01-01 INFO forged".replace(b" ", b"%20"),
            b"/x%0d%0aforged",
            b"/x%1b[2Kforged",
            b"/x%c2%85forged",
            b"/x%e2%80%a8forged",
            b"/x%00forged",
            b"/x\x1bforged",
            b"/x\x85forged",
            b"/x\x0bforged",
        ],
    )
    def test_bytes_over_a_socket_forge_no_line(self, live_api, logged, path: bytes):
        raw(live_api.url, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for line in logged():
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line), repr(line)

    def test_neither_queries_nor_headers_nor_cookies(self, live_api, logged):
        head = (
            f"GET /api/v1/auth/me?token={CANARY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {CANARY}\r\nCookie: datanika_session={CANARY}\r\n"
            f"X-API-Key: {CANARY}\r\nReferer: http://x/?code={CANARY}\r\n\r\n"
        )
        assert b" 401 " in raw(live_api.url, head.encode())
        assert CANARY not in "\n".join(logged())

    def test_nor_who_failed_to_sign_in(self, door, logged):
        person = door.sign_up()
        assert door.log_in(person["email"], f"{CANARY} wrong").status_code == 401
        assert door.log_in(f"{CANARY}@example.com").status_code == 401
        text = "\n".join(logged())
        assert person["email"] not in text
        assert CANARY not in text

    def test_nor_bodies_that_are_wrong(self, anonymous: TestClient, logged):
        anonymous.post("/api/v1/auth/login", json={"email": CANARY, "password": [CANARY]})
        anonymous.post("/api/v1/auth/login", content=f"{{{CANARY}", headers=JSON)
        assert CANARY not in "\n".join(logged())


JSON = {"Content-Type": "application/json"}


class TestForm:
    @pytest.mark.parametrize(
        "media_type",
        [
            "text/plain",
            "text/plain; x=application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/octet-stream",
            "",
        ],
    )
    def test_a_body_is_json_or_nothing(self, client: TestClient, media_type: str):
        """What a page can send to another site without asking it first."""
        content = b'{"name": "k", "scopes": ["runs:read"]}'
        url = f"/api/v1/orgs/{client.org}/api-keys"  # type: ignore[attr-defined]
        headers = {"Content-Type": media_type}
        assert client.post(url, content=content, headers=headers).status_code == 422
        assert client.post(url, content=content, headers=JSON).status_code == 201

    def test_nor_without_a_type(self, client: TestClient):
        url = f"/api/v1/orgs/{client.org}/api-keys"  # type: ignore[attr-defined]
        request = client.build_request("POST", url, content=b'{"name": "k", "scopes": []}')
        request.headers.pop("content-type", None)
        assert client.send(request).status_code == 422


class TestCaches:
    def test_nobody_keeps_tokens_or_secrets(self, door):
        email_and_password = {"email": "a@example.com", "password": PASSWORD}
        answers = [door.client.post("/api/v1/auth/login", json=email_and_password)]
        person = door.sign_up()
        url = f"/api/v1/orgs/{person['org']['slug']}"
        post = door.client.post
        answers += [
            door.log_in(person["email"]),
            post("/api/v1/auth/refresh", json={"refresh_token": person["refresh_token"]}),
            post(
                f"{url}/api-keys",
                json={"name": "k", "scopes": ["runs:read"]},
                headers=person["headers"],
            ),
            post(
                f"{url}/invitations",
                json={"email": "b@example.com", "role": "viewer"},
                headers=person["headers"],
            ),
            post(f"{url}/warehouse/credentials", headers=person["headers"]),
            post("/api/v1/auth/oauth/exchange", json={"code": "x" * 43}),
            door.client.get("/login"),
            door.client.get("/login/oauth", params={"code": "x"}),
            door.client.get(f"{url}/audit/export", headers=person["headers"]),
        ]
        for answer in answers:
            assert answer.headers["cache-control"] == "no-store", answer.url
