"""The options of the servers, tried on a served application."""

import contextlib
import http.client
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanika_stack.base_environment import base_environment
from datanika_stack.health import http_answers
from datanika_stack.polling import wait_for
from datanika_stack.web_server import server_command
from tests.fixtures.ports import free_port

APPLICATION = """
def create_app():
    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        text = f"{scope['client'][0]} {scope['scheme']}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})
    return app
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory: Path = tmp_path_factory.mktemp("served")
    (directory / "echo.py").write_text(APPLICATION)
    number = free_port()
    command = [*server_command("echo:create_app", "127.0.0.1", number), "--app-dir", str(directory)]
    process = subprocess.Popen(command, env=base_environment(), stderr=subprocess.DEVNULL)
    try:
        assert wait_for(http_answers(number, "/"), timeout_seconds=30)
        yield number
    finally:
        process.terminate()
        process.wait(10)


def get(port: int, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_nobody_forges_an_address(port: int) -> None:
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    assert get(port, forged) == (200, "127.0.0.1 http")


def test_headers_without_end_are_refused(port: int) -> None:
    assert get(port, {"X-Long": "x" * 20_000})[0] == 200
    many = {f"X-{number}": "x" * 1000 for number in range(2000)}
    try:
        status, _ = get(port, many)
    except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
        return
    assert status == 400


@pytest.mark.parametrize("piece", [b"X-Small: 1\r\n", b"x"], ids=["many headers", "one header"])
def test_nor_do_they_come_piece_by_piece(port: int, piece: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        answer = b""
        for _ in range(200):
            try:
                connection.sendall(piece * (1000 // len(piece)))
            except OSError:
                break
            time.sleep(0.001)
        with contextlib.suppress(ConnectionResetError):
            answer = connection.recv(100)
    assert answer[:12] in (b"HTTP/1.1 400", b"")


def test_a_connection_serves_many_requests_and_long_bodies(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(50):
        connection.request("POST", "/", body=b"x" * 200_000, headers={"X-Long": "x" * 20_000})
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:9]) == (200, b"127.0.0.1")
    connection.close()
