"""A client of the public REST API: what the command line and the demo do, they do through it.

It must not know the control plane's code: only the URL, the resources and the error format
(RFC 9457, `application/problem+json`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

BASE_PATH = "/api/v1"
DEFAULT_API_KEY_HEADER = "X-API-Key"
# API keys are for what belongs to an org.
_ORG_PATH = f"{BASE_PATH}/orgs/"
_NEEDS_LOGIN = "This needs a login: run `datanika login`, and unset DATANIKA_API_KEY."
_CONNECT_TIMEOUT_SECONDS = 5.0
_PAGE_LIMIT = 100
_MAX_DETAIL_CHARACTERS = 500


@dataclass(frozen=True)
class Tokens:
    """A login: the short-lived access token and the one that renews it."""

    access_token: str
    refresh_token: str


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request."""

    pointer: str
    detail: str


class ApiError(Exception):
    """The API refused a request, or could not be asked.

    Attributes:
        status: The HTTP status; 0 where there was no answer.
        code: The stable error code, such as `connection.auth`.
        detail: One sentence for people.
        errors: The fields that are wrong, with the reason of each.
        trace_id: Names the request in the control plane's log; None where it gave none.
        retry_after_seconds: When it may work again; None where the answer does not say.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        trace_id: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.trace_id = trace_id
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        lines = [f"{self.detail} ({self.code})"]
        lines += [f"  {error.pointer or 'request'}: {error.detail}" for error in self.errors]
        if self.retry_after_seconds is not None:
            lines.append(f"  Try again in {self.retry_after_seconds} seconds.")
        if self.status >= httpx.codes.INTERNAL_SERVER_ERROR and self.trace_id:
            lines.append(f"  trace_id: {self.trace_id}")
        return "\n".join(lines)


class ApiClient:
    """Speaks to one control plane, as one user or with one API key.

    Args:
        api_url: Root URL of the control plane, without `/api/v1`.
        tokens: The login to use; renewed when the access token has expired.
        api_key: Used instead of a login.
        api_key_header: The header that the control plane reads the key from.
        on_renewal: Called with the new tokens after a renewal, so that they can be kept.
        timeout_seconds: How long one answer may take.
    """

    def __init__(
        self,
        api_url: str,
        *,
        tokens: Tokens | None = None,
        api_key: str | None = None,
        api_key_header: str = DEFAULT_API_KEY_HEADER,
        on_renewal: Callable[[Tokens], None] | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self._tokens = tokens
        self._on_renewal = on_renewal
        self._has_key = bool(api_key)
        headers = {api_key_header: api_key} if api_key else {}
        timeout = httpx.Timeout(timeout_seconds, connect=_CONNECT_TIMEOUT_SECONDS)
        # trust_env=False: a proxy of the shell must not see tokens that go to this machine.
        self._http = httpx.Client(
            base_url=self.api_url, headers=headers, timeout=timeout, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def use(self, tokens: Tokens) -> None:
        """Continues as the user who got `tokens`."""
        self._tokens = tokens

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Reads a resource. `path` starts behind `/api/v1`.

        Raises:
            ApiError: The API refused or did not answer.
        """
        return self.request("GET", path, params=params)

    def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """Makes a resource or starts an action; raises as `get` does."""
        return self.request("POST", path, body=body, headers=headers)

    def patch(self, path: str, body: Any) -> Any:
        """Changes the given fields of a resource; raises as `get` does."""
        return self.request("PATCH", path, body=body)

    def put(self, path: str, body: Any) -> Any:
        """Replaces a resource; raises as `get` does."""
        return self.request("PUT", path, body=body)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> None:
        """Deletes a resource; raises as `get` does."""
        self.request("DELETE", path, params=params)

    def lines(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[str]:
        """Yields the lines of a long answer as they come; raises as `get` does."""
        call = self._http.build_request("GET", BASE_PATH + path, params=params)
        response = self._send(call, is_streamed=True)
        if response.status_code == httpx.codes.UNAUTHORIZED and self._renew():
            response.close()
            response = self._send(call, is_streamed=True)
        try:
            if not response.is_success:
                response.read()
                raise self._refusal(response)
            yield from response.iter_lines()
        except httpx.TransportError as error:
            raise ApiError(0, "client.cut", f"The answer broke off: {error}") from None
        finally:
            response.close()

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yields every row of a list, page by page; raises as `get` does."""
        query: dict[str, Any] = {"limit": _PAGE_LIMIT, **(params or {})}
        while True:
            page = self.get(path, query)
            yield from page["data"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Sends one request, once more after renewing an expired login.

        Returns:
            The JSON of the answer, None where it has no body.

        Raises:
            ApiError: The API refused or did not answer.
        """
        call = self._http.build_request(
            method, BASE_PATH + path, json=body, params=params, headers=headers
        )
        response = self._send(call)
        if response.status_code == httpx.codes.UNAUTHORIZED and self._renew():
            response = self._send(call)
        if not response.is_success:
            raise self._refusal(response)
        return response.json() if response.content else None

    def _refusal(self, response: httpx.Response) -> ApiError:
        error = _problem(response)
        is_of_org = _ORG_PATH in response.request.url.path
        if self._has_key and error.status == httpx.codes.UNAUTHORIZED and not is_of_org:
            return ApiError(error.status, error.code, _NEEDS_LOGIN, trace_id=error.trace_id)
        return error

    def _send(self, request: httpx.Request, *, is_streamed: bool = False) -> httpx.Response:
        if self._tokens:
            request.headers["Authorization"] = f"Bearer {self._tokens.access_token}"
        try:
            return self._http.send(request, stream=is_streamed)
        except httpx.TimeoutException:
            raise ApiError(0, "client.timeout", f"{self.api_url} did not answer in time.") from None
        except httpx.TransportError as error:
            raise ApiError(
                0, "client.unreachable", f"Cannot reach {self.api_url}: {error}"
            ) from None

    def _renew(self) -> bool:
        if not self._tokens:
            return False
        body = {"refresh_token": self._tokens.refresh_token}
        response = self._send(
            self._http.build_request("POST", BASE_PATH + "/auth/refresh", json=body)
        )
        if not response.is_success:
            return False
        self._tokens = tokens_of(response.json())
        if self._on_renewal:
            self._on_renewal(self._tokens)
        return True


def tokens_of(answer: Mapping[str, Any]) -> Tokens:
    """Returns the tokens in the answer of sign-up, login or refresh."""
    return Tokens(answer["access_token"], answer["refresh_token"])


def _problem(response: httpx.Response) -> ApiError:
    """Reads an RFC 9457 problem; anything else becomes an error that shows the answer's start."""
    status = response.status_code
    fallback = f"{response.request.method} {response.request.url.path} was answered with {status}."
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    detail = str(problem.get("detail") or problem.get("title") or fallback)
    errors = problem.get("errors") or []
    retry_after = response.headers.get("Retry-After", "")
    return ApiError(
        status,
        str(problem.get("code") or f"http.{status}"),
        detail[:_MAX_DETAIL_CHARACTERS],
        errors=tuple(
            FieldError(str(e.get("pointer", "")), str(e.get("detail", ""))) for e in errors
        ),
        trace_id=problem.get("trace_id"),
        retry_after_seconds=int(retry_after) if retry_after.isdecimal() else None,
    )
