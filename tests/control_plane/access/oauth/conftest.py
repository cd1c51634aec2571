"""A served control plane with both providers beside it, and browsers that visit them."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Session

from control_plane.access.oauth.attempts import AttemptSigner
from control_plane.core.database import transaction
from control_plane.core.trust import public_authorities
from control_plane.main import create_app
from control_plane.settings import Settings
from tests.control_plane.access.oauth.provider_servers import (
    GitHubServer,
    IssuerServer,
    Person,
    ProviderServer,
    served,
)
from tests.fixtures.ports import free_port

CONSOLE = "https://console.example.com/oauth"
PASSWORD = "correct horse battery"


class Browser:
    """Somebody's browser: it keeps cookies and follows no redirect by itself."""

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.http = httpx.Client(trust_env=False, verify=public_authorities(), timeout=20)

    def get(self, path: str, **query: str) -> httpx.Response:
        return self.http.get(self.platform + path, params=query or None)

    def start(self, provider: str, return_to: str | None = CONSOLE) -> str:
        """Starts a sign-in and returns the provider's URL."""
        query = {} if return_to is None else {"return_to": return_to}
        answer = self.get(f"/api/auth/login/{provider}", **query)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def consent(self, authorization_url: str) -> str:
        """Visits the provider and returns the callback's URL."""
        answer = self.http.get(authorization_url)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def visit(self, url: str) -> httpx.Response:
        return self.http.get(url if "://" in url else self.platform + url)

    def sign_in(self, provider: str, return_to: str | None = CONSOLE) -> httpx.Response:
        """Goes all the way to the callback's answer."""
        return self.visit(self.consent(self.start(provider, return_to)))

    def code(self, provider: str) -> str:
        """Goes all the way and returns the one-time code."""
        return code_of(self.sign_in(provider))

    def exchange(self, code: str) -> httpx.Response:
        return self.http.post(f"{self.platform}/api/v1/auth/oauth/exchange", json={"code": code})

    def tokens(self, provider: str) -> dict:
        """Goes all the way and exchanges the code."""
        answer = self.exchange(self.code(provider))
        assert answer.status_code == 200, answer.text
        return answer.json()


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def code_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{CONSOLE}?code=")
    return query_of(answer.headers["location"])["code"]


def error_of(answer: httpx.Response) -> str:
    """The error code with which the browser comes back to the console."""
    assert answer.status_code == 303, answer.text
    query = query_of(answer.headers["location"])
    assert query.keys() == {"error"}, "no code, and nothing of the provider's"
    return query["error"]


@dataclass
class Platform:
    """The served control plane and its providers."""

    url: str
    app: FastAPI
    settings: Settings
    google: IssuerServer
    github: GitHubServer
    browsers: list[Browser] = field(default_factory=list)

    def browser(self) -> Browser:
        self.browsers.append(Browser(self.url))
        return self.browsers[-1]

    def provider(self, name: str) -> ProviderServer:
        return self.google if name == "google" else self.github

    def as_person(self, provider: str, **values: object) -> Person:
        """Lets somebody new, with these values, be who consents at the provider."""
        person = Person(**{"email": f"{secrets.token_hex(6)}@example.com", **values})
        self.provider(provider).person = person
        return person

    def sign_up(self, email: str) -> dict:
        """Signs up by password."""
        answer = httpx.post(
            f"{self.url}/api/v1/auth/signup",
            json={"email": email, "password": PASSWORD, "org_name": f"Org {secrets.token_hex(4)}"},
            trust_env=False,
            verify=public_authorities(),
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def call(self, method: str, path: str, token: str, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(
            method,
            f"{self.url}/api/v1{path}",
            headers=headers,
            trust_env=False,
            verify=public_authorities(),
            **more,
        )

    def replace(self, monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
        """Gives the application other settings or another vault until the test ends."""
        for name, value in values.items():
            # Starlette's State keeps them in a dict, which `setattr` cannot restore.
            monkeypatch.setitem(self.app.state._state, name, value)

    def with_settings(self, monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
        """Changes some settings until the test ends."""
        self.replace(monkeypatch, settings=self.settings.model_copy(update=values))

    def signer(self) -> AttemptSigner:
        return AttemptSigner(self.settings.secret_key.get_secret_value())

    def transaction(self, org_id: int | None = None):
        """A transaction of the application's role on the committed data."""
        return transaction(self.app.state.session_factory, org_id)


@pytest.fixture(scope="session")
def served_platform(make_settings: Callable[..., Settings]) -> Iterator[Platform]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    google = IssuerServer(f"{url}/api/auth/callback/google")
    github = GitHubServer(f"{url}/api/auth/callback/github")
    settings = make_settings(
        public_url=url,
        control_plane_url=url,
        dagster_public_url=f"http://127.0.0.1:{port + 1}/dagster",
        oauth_return_urls=CONSOLE,
        failed_logins_per_address=100_000,
        google_issuer=google.url,
        github_url=github.url,
        github_api_url=f"{github.url}/api",
        GOOGLE_CLIENT_ID=google.client_id,
        GOOGLE_CLIENT_SECRET=google.client_secret,
        GITHUB_CLIENT_ID=github.client_id,
        GITHUB_CLIENT_SECRET=github.client_secret,
    )
    app = create_app(settings)
    with (
        served(google.app(), google.port),
        served(github.app(), github.port),
        served(app, port),
    ):
        yield Platform(url, app, settings, google, github)


@pytest.fixture
def platform(served_platform: Platform) -> Iterator[Platform]:
    """The platform, with honest providers that know new keys and people."""
    for provider in (served_platform.google, served_platform.github):
        provider.reset()
    served_platform.as_person("google")
    served_platform.as_person("github")
    yield served_platform
    while served_platform.browsers:
        served_platform.browsers.pop().http.close()


@pytest.fixture
def browser(platform: Platform) -> Browser:
    return platform.browser()


@pytest.fixture
def committed(platform: Platform) -> Iterator[Session]:
    """A session that sees what the served platform has committed."""
    with platform.transaction() as session:
        yield session
