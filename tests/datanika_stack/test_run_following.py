"""Following a run asks for its status often and for everything that it did only once."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from datanika_stack import run_following
from datanika_stack.api_client import ApiClient
from datanika_stack.run_following import follow_logs, follow_run

PATH = "/orgs/acme/runs/r1"
LINES = ["one", "two", "three"]


class Api(BaseHTTPRequestHandler):
    """A run that has one more line each time its status is asked, and then ends."""

    asked: list[str]
    known: bool

    def do_GET(self):
        path = self.path.partition("?")[0].removeprefix("/api/v1")
        self.asked.append(path)
        looks = sum(p != f"{PATH}/logs" for p in self.asked)
        run = {"id": "r1", "status": "success" if looks >= len(LINES) else "running"}
        if path == "/orgs/acme/runs":
            self.answer({"data": [run] if self.known else [], "next_cursor": None})
        elif path == PATH:
            self.answer(run | {"assets": []})
        else:
            start = int(self.path.partition("cursor=")[2] or 0)
            lines = LINES[start:looks]
            page = {"data": [{"message": m} for m in lines], "next_cursor": str(start + len(lines))}
            self.answer(page | {"has_more": False})

    def answer(self, body):
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(run_following, "_POLL_SECONDS", 0.01)
    handler = type("Handler", (Api,), {"asked": [], "known": True})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with ApiClient(f"http://127.0.0.1:{server.server_port}") as client:
            yield client, handler
        server.shutdown()
        thread.join()


def test_the_whole_run_is_read_once(api):
    client, handler = api
    seen = []
    run = follow_run(client, PATH, on_line=lambda line: seen.append(line["message"]))
    assert run == {"id": "r1", "status": "success", "assets": []}
    assert seen == LINES
    assert handler.asked.count(PATH) == 1


def test_without_a_listener_the_log_is_not_read(api):
    client, handler = api
    follow_run(client, PATH)
    assert f"{PATH}/logs" not in handler.asked


def test_a_log_is_followed_by_its_cursor(api):
    client, handler = api
    assert [line["message"] for line in follow_logs(client, PATH)] == LINES
    assert PATH not in handler.asked


def test_a_run_that_is_no_longer_on_the_first_page(api):
    client, handler = api
    handler.known = False
    assert follow_run(client, PATH)["status"] == "success"


def test_the_time_is_limited(api):
    client, _ = api
    LINES.extend(["more"] * 1000)
    try:
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            follow_run(client, PATH, timeout_seconds=0.05)
    finally:
        del LINES[3:]
