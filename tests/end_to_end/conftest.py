"""One whole stack for the suite: the demo, run as a user runs it, and left up.

`tests/scheduling.py` keeps its tests on one worker of pytest-xdist, so that it is started once.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.ports import free_base_port

ROOT = Path(__file__).parents[2]
DEMO_TIMEOUT_SECONDS = 300


def datanika(
    *arguments: str, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user does, in an environment without our settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "datanika_stack.cli.main", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEMO_TIMEOUT_SECONDS,
        env={**kept, **environment},
        cwd=ROOT,
        check=False,
    )


@dataclass
class Org:
    """A signed-in owner.

    Attributes:
        slug: The org's.
        api: A client whose base is `/api/v1/orgs/{slug}/`.
    """

    slug: str
    api: httpx.Client

    @property
    def authorization(self) -> str:
        """The `Authorization` header of requests that go past the client."""
        assert isinstance(self.api.auth, SignedIn)
        return self.api.auth.header()

    def post(self, path: str, expected: int = 201, **body: Any) -> dict[str, Any]:
        """Posts and returns the answer's body."""
        answer = self.api.post(path, json=body)
        assert answer.status_code == expected, answer.text
        return answer.json()

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Gets a resource."""
        answer = self.api.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def row(self, path: str, name: str) -> dict[str, Any]:
        """Returns the row of a list that has this name."""
        return next(row for row in self.get(path)["data"] if row["name"] == name)

    def first_run(self) -> dict[str, Any]:
        """Returns the oldest run of all."""
        page = self.get("runs")
        while page["next_cursor"]:
            page = self.get("runs", cursor=page["next_cursor"])
        return page["data"][-1]

    def wait_for_run(self, run_id: str, timeout_seconds: float = 90) -> dict[str, Any]:
        """Returns a run once it has ended."""
        return wait_until(
            lambda: self.get(f"runs/{run_id}"),
            lambda run: run["status"] in {"success", "failed", "cancelled"},
            timeout_seconds,
        )


def on_this_machine(seconds: float) -> float:
    """Returns how long what takes so many seconds may take beside all that runs here by now."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_until(
    look: Callable[[], Any], is_there: Callable[[Any], bool], timeout_seconds: float
) -> Any:
    """Looks until what is seen is what is wanted, and returns it."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        seen = look()
        if is_there(seen):
            return seen
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s; last seen: {seen}"
        time.sleep(0.25)


class SignedIn(httpx.Auth):
    """Somebody's access token, a new one when the old one is about to end: tests take longer."""

    def __init__(self, api_url: str, email: str, password: str) -> None:
        self._url = f"{api_url}/api/v1/auth/login"
        self._login = {"email": email, "password": password}
        self._header, self._until = "", 0.0

    def header(self) -> str:
        """Returns what the `Authorization` header holds now."""
        if time.monotonic() > self._until:
            answer = httpx.post(self._url, json=self._login)
            assert answer.status_code == 200, answer.text
            self._header = f"Bearer {answer.json()['access_token']}"
            self._until = time.monotonic() + 600
        return self._header

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        request.headers.setdefault("Authorization", self.header())
        yield request


@dataclass
class RunningStack:
    """A stack that has run the demo.

    Attributes:
        home: Its directory.
        demo: What `datanika demo --json` printed.
    """

    home: Path
    port: int
    demo: dict[str, Any]
    clients: contextlib.ExitStack

    @property
    def api_url(self) -> str:
        return self.demo["api_url"].removesuffix("/api/v1").rstrip("/")

    def log_in(self, email: str, password: str, org: str) -> Org:
        return self._org(org, SignedIn(self.api_url, email, password))

    def sign_up(self, org_name: str) -> Org:
        email, password = f"{secrets.token_hex(6)}@example.com", "correct horse battery"
        answer = httpx.post(
            f"{self.api_url}/api/v1/auth/signup",
            json={"email": email, "password": password, "org_name": org_name},
        )
        assert answer.status_code == 201, answer.text
        return self._org(answer.json()["org"]["slug"], SignedIn(self.api_url, email, password))

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Asks Dagster as the demo's owner, a platform operator."""
        with httpx.Client(timeout=30) as browser:
            browser.post(
                f"{self.api_url}/api/v1/auth/login",
                json={"email": self.demo["email"], "password": self.demo["password"]},
            )
            answer = browser.post(
                f"{self.demo['dagster_url']}/graphql",
                json={"query": query, "variables": variables},
            )
            assert answer.status_code == 200, answer.text
            return answer.json()["data"]

    def shell_environment(self) -> dict[str, str]:
        """Returns what `eval "$(datanika env)"` exports."""
        answer = datanika("env", "--home", str(self.home))
        assert answer.returncode == 0, answer.stderr
        script = f"{answer.stdout}\nenv -0"
        output = subprocess.run(
            ["sh", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]}
        ).stdout.decode()
        return dict(line.split("=", 1) for line in output.split("\0") if "=" in line)

    def _org(self, slug: str, signed_in: "SignedIn") -> Org:
        api = httpx.Client(
            base_url=f"{self.api_url}/api/v1/orgs/{slug}/", auth=signed_in, timeout=90
        )
        return Org(slug, self.clients.enter_context(api))


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    """The demo, kept running while the tests of this directory do."""
    home = Path(tempfile.mkdtemp(prefix="dnk", dir="/tmp"))
    home.chmod(0o755)
    port = free_base_port()
    try:
        answer = datanika(
            "demo", "--home", str(home), "--port", str(port), "--json", "--exit", "--keep"
        )
        assert answer.returncode == 0, answer.stderr + answer.stdout
        with contextlib.ExitStack() as clients:
            yield RunningStack(home, port, json.loads(answer.stdout), clients)
    finally:
        datanika("down", "--home", str(home))
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="package")
def acme(stack: RunningStack) -> Org:
    """The demo's org, as its owner."""
    return stack.log_in(stack.demo["email"], stack.demo["password"], stack.demo["org"])
