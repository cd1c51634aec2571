"""The only network access of the execution plane to the control plane.

It knows the internal API (`/internal/v1`) and nothing of what the answers are used for.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Self

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from datanika_dagster.errors import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    PlatformSealed,
)
from datanika_dagster.settings import Settings
from datanika_manifest import code_location
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.quotas import Quotas

BASE_PATH = "/internal/v1"
TIMEOUT_SECONDS = 10.0
DETAIL_LENGTH = 500
USED_BEFORE = "task_token_used"
"""The error code of a task token that was redeemed before."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class PublishedManifest(_Answer):
    """A manifest's text under its name."""

    sha256: str
    manifest: str


class TaskToken(_Answer):
    """A single-use token for one run, and the number of the org that the run is of."""

    token: str
    expires_at: datetime
    org_id: int


class Redeemed(_Answer):
    """What a task token was exchanged for; `connections` holds secrets."""

    org: str
    org_id: int
    connections: dict[str, dict[str, Any]]
    allowed_networks: tuple[str, ...] = ()
    refused_endpoints: tuple[tuple[str, int], ...] = ()

    def networks(self) -> dict[str, Any]:
        """Returns what the jobs are told about networks, for their payloads."""
        return {
            "allowed_networks": list(self.allowed_networks),
            "refused_endpoints": [list(endpoint) for endpoint in self.refused_endpoints],
        }


class Seal(_Answer):
    """Whether the control plane can read secrets: unsealed, sealed or uninitialized."""

    state: str


class AllowedIntent(_Answer):
    """An intent that the control plane allows, with a launch for each of its runs."""

    launch_ids: tuple[int, ...]


class Session(_Answer):
    """Who a person's or a service's session is, and in which org a person works now, if any."""

    kind: str
    name: str = ""
    email: str | None = None
    is_platform_operator: bool = False
    org: str | None = None
    org_id: int | None = None
    role: str | None = None
    permissions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RunIntent:
    """What a run wants to do, for the control plane to allow or refuse."""

    org: str
    manifest_sha256: str
    asset_keys: list[list[str]] | None
    check_keys: list[dict[str, Any]] | None = None
    schedule: str | None = None
    launch_id: str | None = None


@dataclass(frozen=True)
class DeclaredIntent:
    """What a person is about to do in the Dagster UI, for the control plane to allow or refuse.

    Attributes:
        field: The mutation, of `datanika_manifest.intents`.
        targets: What it is about, as `kind` and `id`.
        launches: How many runs it launches.
    """

    field: str
    targets: list[dict[str, str]]
    launches: int = 0


@cache
def trusted_authorities() -> ssl.SSLContext:
    """Returns what verifies a control plane behind TLS: httpx's own authorities.

    Read once: each reading costs a core 30 milliseconds. The worker host does it before it forks.
    """
    return httpx.create_ssl_context(trust_env=False)


class ControlPlaneClient:
    """Calls the internal API; use it as a context manager.

    Args:
        base_url: Where the control plane listens, without a path.
        headers: What authenticates each request.
        timeout_seconds: How long one answer may take.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        # Not trust_env: a proxy of the environment must not see tokens.
        self._http = httpx.Client(
            base_url=base_url.rstrip("/") + BASE_PATH,
            headers=dict(headers),
            timeout=timeout_seconds,
            trust_env=False,
            verify=trusted_authorities(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def manifest(self, org: str, sha256: str | None = None) -> CodeLocation:
        """Returns an org's manifest.

        Args:
            org: The org's slug.
            sha256: Which one; None for the one that is published now.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: There is none, or not for this caller.
            ManifestError: What came is not that manifest.
        """
        path = f"/orgs/{org}/manifests/{sha256}" if sha256 else f"/orgs/{org}/manifest"
        published = PublishedManifest.model_validate(self._request("GET", path))
        return code_location.read(published.manifest, sha256=sha256 or published.sha256, org=org)

    def authorize_run(self, run_id: str, intent: RunIntent) -> TaskToken:
        """Asks whether a run may start, as the launcher.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: It may not; `detail` says why.
        """
        return TaskToken.model_validate(
            self._request("POST", f"/runs/{run_id}/authorize", vars(intent))
        )

    def task_token(self, run_id: str, intent: RunIntent) -> TaskToken:
        """Exchanges an API key for a task token, for a run from a shell.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: The key is wrong, or may not run or get secrets.
        """
        body = {
            "run_id": run_id,
            "org": intent.org,
            "manifest_sha256": intent.manifest_sha256,
            "asset_keys": intent.asset_keys,
            "check_keys": intent.check_keys,
        }
        return TaskToken.model_validate(self._request("POST", "/task-tokens", body))

    def redeem(self, token: str) -> Redeemed:
        """Exchanges a task token for credentials, once.

        Raises:
            ControlPlaneUnreachable: No answer.
            PlatformSealed: Not before somebody unlocks it; the token stays as it was.
            ControlPlaneRefused: The token was used before, has expired or was revoked.
        """
        answer = self._request(
            "POST", "/task-tokens/redeem", {}, headers={"Authorization": f"Bearer {token}"}
        )
        return Redeemed.model_validate(answer)

    def is_sealed(self) -> bool:
        """Returns whether secrets cannot be read until somebody unlocks the platform.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: This process may not ask.
        """
        return Seal.model_validate(self._request("GET", "/seal")).state != "unsealed"

    def quotas(self) -> Quotas:
        """Returns what orgs may run, as the launcher.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: This process may not ask.
        """
        return Quotas.model_validate(self._request("GET", "/quotas"))

    def tell_run_change(self) -> None:
        """Says that a run has come or has another status.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: This process may not say so.
        """
        self._request("POST", "/runs/changes", {})

    def session(self) -> Session:
        """Returns who the caller's forwarded headers belong to.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: Nobody's: status 401.
        """
        return Session.model_validate(self._request("GET", "/session"))

    def declare_intent(self, org: str, intent: DeclaredIntent) -> list[str]:
        """Asks, as the gateway and for a person, whether something may be done.

        Returns:
            The launches that its runs come from.

        Raises:
            ControlPlaneUnreachable: No answer.
            ControlPlaneRefused: It may not; `detail` says why.
        """
        answer = self._request("POST", f"/orgs/{org}/intents", vars(intent))
        return [str(id_) for id_ in AllowedIntent.model_validate(answer).launch_ids]

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        try:
            response = self._http.request(
                method, path, json=body, headers=dict(headers) if headers else None
            )
        except httpx.TransportError as error:
            # Only the class: a message may repeat a URL with what was in it.
            raise ControlPlaneUnreachable(
                f"The control plane did not answer ({type(error).__name__}).",
                may_have_arrived=not isinstance(error, _NOT_SENT),
            ) from None
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise ControlPlaneUnreachable(
                f"The control plane answered with status {response.status_code}."
            )
        if response.status_code == httpx.codes.LOCKED:
            raise PlatformSealed(response.status_code, *_reason(response))
        if response.is_error:
            raise ControlPlaneRefused(response.status_code, *_reason(response))
        return response.json() if response.content else None


class _Problem(BaseModel):
    detail: str
    code: str = ""


def _reason(response: httpx.Response) -> tuple[str, str]:
    """Returns why it refused, in words and as a code."""
    try:
        problem = _Problem.model_validate_json(response.content)
    except ValidationError:
        return f"The control plane refused with status {response.status_code}.", ""
    return problem.detail[:DETAIL_LENGTH], problem.code


def of_process(settings: Settings, task_token: str | None = None) -> ControlPlaneClient:
    """Returns a client with what this process has to show: a token of its own, the run's, a key.

    Args:
        settings: Where the control plane is, and the process's own credentials.
        task_token: The run's token, where this process is a run.
    """
    headers: dict[str, str] = {}
    if task_token:
        headers["Authorization"] = f"Bearer {task_token}"
    elif settings.service_token:
        headers["Authorization"] = f"Bearer {settings.service_token.get_secret_value()}"
    elif settings.api_key:
        headers[settings.api_key_header] = settings.api_key.get_secret_value()
    return ControlPlaneClient(settings.control_plane_url, headers)
