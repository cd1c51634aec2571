"""Debian's chromium without a window, driven by its own protocol (chromedevtools.github.io)."""

import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium")
START_SECONDS = 60
PAGE_SECONDS = 60


class Page:
    """One page of the browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=PAGE_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def sign_in(self, url: str, cookie: str) -> None:
        name, _, value = cookie.partition("=")
        self.call("Network.clearBrowserCookies")
        self.call("Network.setCookie", name=name, value=value, url=url, httpOnly=True)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def text(self) -> str:
        return self.value("document.body ? document.body.innerText : ''") or ""

    def wait_for_text(self, text: str) -> str:
        """Returns all of the page's text, when this is part of it."""
        deadline = time.monotonic() + PAGE_SECONDS
        while time.monotonic() < deadline:
            found = self.text()
            if text in found:
                return found
            time.sleep(0.3)
        raise AssertionError(f"{text!r} did not appear on:\n{self.text()[:3000]}")


@contextmanager
def browser() -> Iterator[Page]:
    """Runs a browser for the block."""
    assert CHROMIUM, "chromium is not installed: apt-get install chromium"
    with tempfile.TemporaryDirectory() as profile:
        process = subprocess.Popen(
            [
                *[CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"],
                *["--disable-dev-shm-usage", "--window-size=1400,1000"],
                *["--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            with connect(_target(port), max_size=None) as connection:
                page = Page(connection)
                page.call("Page.enable")
                page.call("Network.enable")
                yield page
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().split() if file.exists() else []
        if lines:
            return int(lines[0])
        time.sleep(0.1)
    raise AssertionError("chromium did not start")


def _target(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        pages = [one for one in json.load(answer) if one["type"] == "page"]
    return pages[0]["webSocketDebuggerUrl"]
