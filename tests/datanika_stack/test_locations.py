"""The list of published manifests, asked of a real socket that answers well, badly or not at all."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from datanika_stack.errors import LocationsUnavailableError
from datanika_stack.internal_api import InternalApi
from datanika_stack.locations import CodeLocation, LocationPoller, LocationSource
from datanika_stack.polling import wait_for

SHA = "a" * 64
ENTRY = {"org_id": 7, "org": "acme", "sha256": SHA, "token": "t"}
GOOD = CodeLocation(7, "acme", SHA, "t")


def answer(body: Any, *, length: int | None = None) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(content) if length is None else length
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + content


class Server:
    """Sends the same bytes to whoever connects, and hangs up."""

    def __init__(self) -> None:
        self.sends = answer({"locations": []})
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def source(self) -> LocationSource:
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        return LocationSource(InternalApi(url, "token"))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(self.sends)


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.close()


def test_the_published_manifests(server: Server) -> None:
    server.sends = answer({"locations": [ENTRY]})
    assert server.source.list() == [GOOD]


BAD = {
    "cut": answer({"locations": [ENTRY]}, length=5000),
    "silent": b"",
    "no http": b"220 smtp.example.com ESMTP\r\n",
    "no json": answer(b"<html>"),
    "no object": answer([ENTRY]),
    "no list": answer({"locations": None}),
    "no entries": answer({"locations": ["acme"]}),
    "no number": answer({"locations": [ENTRY | {"org_id": "7"}]}),
    "no text": answer({"locations": [ENTRY | {"org": 7}]}),
    "a path": answer({"locations": [ENTRY | {"org": "../acme"}]}),
    "an error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("sends", BAD.values(), ids=BAD)
def test_a_bad_answer_is_one_error(server: Server, sends: bytes) -> None:
    server.sends = sends
    with pytest.raises(LocationsUnavailableError):
        server.source.list()


def test_bad_answers_are_told_and_outlived(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    poller = LocationPoller(server.source, list, patience_seconds=1.5)
    server.sends = BAD["cut"]
    with caplog.at_level(logging.WARNING):
        poller.start()
        try:
            assert not poller.is_stale()
            assert wait_for(poller.is_stale, timeout_seconds=10)
            assert poller.latest is None
            server.sends = answer({"locations": [ENTRY]})
            assert wait_for(lambda: poller.latest == [GOOD], timeout_seconds=10)
            assert not poller.is_stale()
            server.sends = b""
            assert wait_for(poller.is_stale, timeout_seconds=10)
            assert poller.latest == [GOOD]
        finally:
            poller.stop()
    said = [record.getMessage() for record in caplog.records]
    assert "IncompleteRead" in said[0]
    lists = [text for text in said if "published manifests" in text]
    assert len(lists) == 2, "once per kind of failure"


def test_what_nobody_has_thought_of_ends_no_poller(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.sends = answer({"locations": [ENTRY]})
    asked: list[int] = []

    def stumbles(locations: list[CodeLocation]) -> list[CodeLocation]:
        asked.append(len(asked))
        if len(asked) < 3:
            raise ValueError("a number is positive")
        return locations

    poller = LocationPoller(server.source, stumbles)
    with caplog.at_level(logging.WARNING):
        poller.start()
        try:
            assert wait_for(lambda: poller.latest == [GOOD], timeout_seconds=10)
        finally:
            poller.stop()
    assert caplog.messages.count("the published manifests are not used: a number is positive") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_poller_that_died_is_noticed_and_asks_again(server: Server) -> None:
    server.sends = answer({"locations": [ENTRY]})
    asked: list[int] = []

    def dies_once(locations: list[CodeLocation]) -> list[CodeLocation]:
        asked.append(len(asked))
        if len(asked) == 1:
            raise MemoryError
        return locations

    poller = LocationPoller(server.source, dies_once)
    poller.start()
    try:
        assert wait_for(poller.is_stale, timeout_seconds=10)
        poller.keep_asking()
        assert wait_for(lambda: poller.latest == [GOOD], timeout_seconds=10)
        assert not poller.is_stale()
    finally:
        poller.stop()
    poller.keep_asking()
    assert poller.is_stale(), "it was stopped"
