"""Stands for Google's reCAPTCHA verification, which tests cannot reach; it answers as that does.

https://developers.google.com/recaptcha/docs/verify
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

SECRET = "the secret of the tests"


@dataclass
class CaptchaServer:
    """The server.

    Attributes:
        answer: What it says; `success` is what it finds out itself where it is left out.
        status: With which status.
        is_silent: Whether it takes the request and says nothing.
        asked: The forms that it was sent.
    """

    port: int = 0
    answer: Any = field(default_factory=lambda: {"score": 0.9, "action": "login"})
    status: int = 200
    is_silent: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/recaptcha/api/siteverify"


@contextmanager
def captcha_server() -> Iterator[CaptchaServer]:
    """Runs the server for the block."""
    state = CaptchaServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            form = {name: values[0] for name, values in parse_qs(content.decode()).items()}
            state.asked.append(form)
            if state.is_silent:
                time.sleep(1)
                return
            answer = state.answer
            if isinstance(answer, dict):
                fits = form.get("secret") == SECRET and form.get("response", "").startswith("good")
                answer = json_bytes({"success": fits, "hostname": "elsewhere", **answer})
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def json_bytes(value: object) -> bytes:
    return json.dumps(value).encode()
