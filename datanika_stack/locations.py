"""Asks the control plane which orgs have a published manifest, and writes Dagster's workspace file.

Knows the internal API's answer and the file's format, no process.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from datanika_stack.private_files import write_private

_TIMEOUT_SECONDS: Final = 3.0
_SLUG: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CodeLocation:
    """One org's published manifest.

    Attributes:
        org: Slug of the org.
        sha256: The manifest's hash.
        token: Lets the org's code server fetch it.
    """

    org: str
    sha256: str
    token: str = field(repr=False)

    @property
    def name(self) -> str:
        """The name that Dagster shows."""
        return f"org_{self.org}"


class LocationSource:
    """The control plane's list of published manifests.

    Args:
        control_plane_url: Base URL of the control plane.
        token: A service token of the role supervisor.
    """

    def __init__(self, control_plane_url: str, token: str) -> None:
        self._url = control_plane_url.rstrip("/") + "/internal/v1/locations"
        self._token = token

    def list(self) -> list[CodeLocation] | None:
        """Returns the published manifests; None when the control plane does not answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        request = urllib.request.Request(self._url, headers=headers)  # noqa: S310 - http of our own
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                content = json.load(answer)
        except (OSError, ValueError):
            return None
        return [location for entry in content.get("locations", ()) if (location := _read(entry))]


def write_workspace(path: Path, sockets: Iterable[tuple[str, Path]]) -> None:
    """Replaces the workspace file if it would change.

    Args:
        path: `workspace.yaml`.
        sockets: Name of each code location and the socket it listens on.
    """
    entries = [
        {"grpc_server": {"socket": str(socket), "location_name": name}}
        for name, socket in sorted(sockets)
    ]
    # YAML reads JSON, which needs no quoting rules of our own.
    text = json.dumps({"load_from": entries}, indent=2) + "\n"
    if not path.exists() or path.read_text() != text:
        write_private(path, text)


# No proxy of the environment stands between the stack's own processes.
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _read(entry: dict[str, Any]) -> CodeLocation | None:
    org, sha256, token = entry.get("org", ""), entry.get("sha256", ""), entry.get("token", "")
    if _SLUG.fullmatch(org) and _SHA256.fullmatch(sha256):
        return CodeLocation(org, sha256, token)
    return None
