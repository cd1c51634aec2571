"""Real providers of sign-in on loopback: an OpenID Connect issuer, and one with GitHub's API.

Both check what a provider checks: the client's id and secret, the registered redirect URI, that a
code is used once and with the PKCE verifier of who asked for it. Whoever is `person` consents at
once. What a test spoils (a claim, a key, an answer) is an attribute.
"""

import base64
import hashlib
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fixtures.ports import free_port


@dataclass
class Person:
    """Somebody with an account at a provider."""

    email: str
    subject: str = field(default_factory=lambda: str(secrets.randbelow(10**15)))
    name: str | None = "Ann Example"
    is_email_verified: bool = True


@dataclass
class Grant:
    """What stands behind a code or an access token."""

    person: Person
    redirect_uri: str
    code_challenge: str
    nonce: str | None


class ProviderServer(ABC):
    """What OAuth2 asks of any provider (RFC 6749, RFC 7636)."""

    token_path: str

    def __init__(self, redirect_uri: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client_id = secrets.token_hex(8)
        self.client_secret = secrets.token_urlsafe(16)
        self.redirect_uri = redirect_uri
        self.codes: dict[str, Grant] = {}
        self.access_tokens: dict[str, Grant] = {}
        self.requests: list[str] = []
        self.reset()

    def reset(self) -> None:
        """Makes the provider honest and well again."""
        self.person = Person("ann@example.com")
        self.refusal: str | None = None
        # An answer of one path in place of its own.
        self.spoilt: dict[str, ASGIApp] = {}
        self.requests.clear()

    def authorize(self, request: Request) -> Response:
        """Lets `person` consent, or refuse."""
        query = request.query_params
        if query["client_id"] != self.client_id or query["redirect_uri"] != self.redirect_uri:
            return JSONResponse({"error": "unauthorized_client"}, 400)
        if query["response_type"] != "code" or query["code_challenge_method"] != "S256":
            return JSONResponse({"error": "invalid_request"}, 400)
        values = {"state": query["state"]}
        if self.refusal:
            values |= {"error": self.refusal, "error_description": "canary-of-the-provider"}
        else:
            values["code"] = secrets.token_urlsafe(16)
            self.codes[values["code"]] = Grant(
                self.person, query["redirect_uri"], query["code_challenge"], query.get("nonce")
            )
        return RedirectResponse(f"{self.redirect_uri}?{urlencode(values)}", 302)

    async def token(self, request: Request) -> Response:
        """Exchanges a code, once."""
        form = await request.form()
        grant = self.codes.pop(str(form.get("code")), None)
        if (form.get("client_id"), form.get("client_secret")) != (
            self.client_id,
            self.client_secret,
        ):
            return self.token_error("invalid_client")
        verifier = str(form.get("code_verifier", "")).encode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=")
        if grant is None or challenge.decode() != grant.code_challenge:
            return self.token_error("invalid_grant")
        if form.get("redirect_uri") != grant.redirect_uri:
            return self.token_error("invalid_grant")
        access_token = secrets.token_urlsafe(16)
        self.access_tokens[access_token] = grant
        return JSONResponse(
            {"access_token": access_token, "token_type": "bearer", **self.more_tokens(grant)}
        )

    def token_error(self, code: str) -> Response:
        """Refuses as this provider does."""
        return JSONResponse({"error": code, "error_description": "canary “refused”"}, 400)

    def more_tokens(self, grant: Grant) -> dict[str, Any]:
        """Returns what stands beside the access token."""
        return {}

    def grant_of(self, request: Request) -> Grant | None:
        """Returns whose access token the request has."""
        return self.access_tokens.get(request.headers.get("authorization", "")[len("Bearer ") :])

    @abstractmethod
    def routes(self) -> list[Route]:
        """Returns the provider's routes."""

    def app(self) -> ASGIApp:
        """Returns the application."""
        app = Starlette(routes=self.routes())

        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.requests.append(f"{scope['method']} {scope['path']}")
            await self.spoilt.get(scope.get("path", ""), app)(scope, receive, send)

        return noting


class IssuerServer(ProviderServer):
    """An OpenID Connect issuer, in Google's place."""

    def __init__(self, redirect_uri: str) -> None:
        self.first_key = RSAKey.generate_key(2048, auto_kid=True)
        super().__init__(redirect_uri)

    def reset(self) -> None:
        super().reset()
        self.key = self.first_key
        self.published_keys = [self.key]
        self.claims: dict[str, Any] = {}
        self.discovery: dict[str, Any] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.describe),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
            Route("/jwks", self.jwks),
        ]

    def describe(self, request: Request) -> Response:
        """The discovery document."""
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
                **self.discovery,
            }
        )

    def jwks(self, request: Request) -> Response:
        """The public keys."""
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.published_keys]})

    def more_tokens(self, grant: Grant) -> dict[str, Any]:
        return {"id_token": self.id_token(grant)}

    def id_token(self, grant: Grant) -> str:
        """Signs who the person is."""
        claims = self.honest_claims(grant) | self.claims
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, kept, self.key)

    def honest_claims(self, grant: Grant) -> dict[str, Any]:
        """Returns what is true."""
        now = int(time.time())
        return {
            "iss": self.url,
            "aud": self.client_id,
            "sub": grant.person.subject,
            "iat": now,
            "exp": now + 300,
            "nonce": grant.nonce,
            "email": grant.person.email,
            "email_verified": grant.person.is_email_verified,
            "name": grant.person.name,
        }


class GitHubServer(ProviderServer):
    """GitHub's two endpoints for codes and tokens, and the two of its API."""

    def reset(self) -> None:
        super().reset()
        self.more_emails: list[dict[str, Any]] = []

    def routes(self) -> list[Route]:
        return [
            Route("/login/oauth/authorize", self.authorize),
            Route("/login/oauth/access_token", self.token, methods=["POST"]),
            Route("/api/user", self.user),
            Route("/api/user/emails", self.emails),
        ]

    def token_error(self, code: str) -> Response:
        # GitHub refuses with a 200.
        return JSONResponse({"error": code, "error_description": "canary “refused”"})

    def user(self, request: Request) -> Response:
        """The account."""
        grant = self.grant_of(request)
        if grant is None:
            return JSONResponse({"message": "Bad credentials"}, 401)
        person = grant.person
        return JSONResponse({"id": int(person.subject), "login": "ann", "name": person.name})

    def emails(self, request: Request) -> Response:
        """The account's addresses."""
        grant = self.grant_of(request)
        if grant is None:
            return JSONResponse({"message": "Bad credentials"}, 401)
        person = grant.person
        primary = {
            "email": person.email,
            "primary": True,
            "verified": person.is_email_verified,
            "visibility": "private",
        }
        return JSONResponse([*self.more_emails, primary])


@contextmanager
def served(app: Any, port: int) -> Generator[None]:
    """Serves an ASGI application on loopback for the block."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 15
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
