"""HTTP to the providers of sign-in: no proxy, no redirect, no cookie, bounded size and time."""

import json
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.oauth2.auth import ClientAuth  # pyright: ignore[reportMissingTypeStubs]

from control_plane.access.oauth.errors import ProviderFailed
from control_plane.core.errors import Throttled
from control_plane.core.trust import public_authorities

TIMEOUT_SECONDS = 5.0
DEADLINE_SECONDS = 10.0
MAXIMUM_BYTES = 262_144
# A slow provider must not take every thread of the server.
MAXIMUM_PARALLEL = 6
RETRY_AFTER_SECONDS = 2


class ProviderHttp:
    """The one way to a provider; `post` has the form that authlib asks of a session.

    Args:
        title: What people call the provider.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._places = threading.BoundedSemaphore(MAXIMUM_PARALLEL)
        self._client = httpx.Client(
            trust_env=False,
            verify=public_authorities(),
            follow_redirects=False,
            timeout=TIMEOUT_SECONDS,
            # Many people's sign-ins share this client: one's cookies are not for the next.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": "datanika", "Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def get_json(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        """Returns the JSON that a URL answers with.

        Raises:
            ProviderFailed: Anything but a 200 with JSON.
            Throttled: Too many sign-ins wait for the provider.
        """
        response = self._send("GET", url, {"Accept": "application/json", **(headers or {})})
        if response.status_code != HTTPStatus.OK:
            raise ProviderFailed(f"{self._title} answered with status {response.status_code}.")
        try:
            return response.json()
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            raise ProviderFailed(f"{self._title} answered with something else than JSON.") from None

    def post(
        self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: ClientAuth
    ) -> httpx.Response:
        """Posts a form, with the client's credentials added by authlib.

        Raises:
            ProviderFailed: No answer, or one that is too large.
            Throttled: Too many sign-ins wait for the provider.
        """
        signed: Any = auth
        target, all_headers, body = signed.prepare("POST", url, dict(headers), urlencode(data))
        return self._send("POST", target, all_headers, body.encode())

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> httpx.Response:
        try:
            with (
                self._place(),
                self._client.stream(method, url, headers=headers, content=content) as answer,
            ):
                body = self._read(answer)
        except httpx.TimeoutException:
            raise ProviderFailed(f"{self._title} did not answer in time.") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise ProviderFailed(f"{self._title} cannot be reached.") from None
        return httpx.Response(answer.status_code, content=body, request=answer.request)

    def _read(self, answer: httpx.Response) -> bytes:
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise ProviderFailed(f"{self._title} answered in an encoding that was not asked for.")
        deadline = time.monotonic() + DEADLINE_SECONDS
        body = bytearray()
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > MAXIMUM_BYTES:
                raise ProviderFailed(f"{self._title} answered with too much.")
            if time.monotonic() > deadline:
                raise ProviderFailed(f"{self._title} did not answer in time.")
        return bytes(body)

    @contextmanager
    def _place(self) -> Generator[None]:
        if not self._places.acquire(blocking=False):
            raise Throttled(
                f"Too many people sign in by {self._title} at the moment; try again.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        try:
            yield
        finally:
            self._places.release()
