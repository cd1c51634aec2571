"""Asks the control plane which orgs have a published manifest, and writes Dagster's workspace file.

Knows the internal API's answer and the file's format, no process.
"""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from datanika_stack.errors import ControlPlaneUnavailableError, LocationsUnavailableError
from datanika_stack.internal_api import InternalApi
from datanika_stack.private_files import write_private

_LOGGER: Final = logging.getLogger(__name__)
_POLL_SECONDS: Final = 1.0
# So long the last list is taken for good before somebody should look.
_PATIENCE_SECONDS: Final = 60.0
_SLUG: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CodeLocation:
    """One org's published manifest.

    Attributes:
        org_id: The org's number, which it cannot choose.
        org: Its slug.
        sha256: The manifest's hash.
        token: Lets the org's code server fetch it.
    """

    org_id: int
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
        api: Whom to ask.
    """

    def __init__(self, api: InternalApi) -> None:
        self._api = api

    def list(self) -> list[CodeLocation]:
        """Returns the published manifests.

        Raises:
            LocationsUnavailableError: The control plane does not answer, or not what it should.
        """
        try:
            content = self._api.get("/locations")
        except ControlPlaneUnavailableError as error:
            raise LocationsUnavailableError(str(error)) from error
        entries = content.get("locations") if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise LocationsUnavailableError("the answer is not a list of locations")
        return [_read(entry) for entry in entries]


class LocationPoller:
    """Asks again and again in a thread of its own; a failure changes nothing but is told.

    Args:
        source: Whom to ask.
        ready: Which of them can be used now; called in the poller's thread each time.
        patience_seconds: How long it may fail before `is_stale`.
    """

    def __init__(
        self,
        source: LocationSource,
        ready: Callable[[list[CodeLocation]], list[CodeLocation]],
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._source = source
        self._ready = ready
        self._patience_seconds = patience_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="locations", daemon=True)
        self._answered = time.monotonic()
        self._failure: str | None = None
        self._latest: list[CodeLocation] | None = None

    @property
    def latest(self) -> "list[CodeLocation] | None":
        """The last list that was good; None before the first."""
        return self._latest

    def is_stale(self) -> bool:
        """Returns whether it has failed for so long that somebody should look."""
        is_running = self._thread.ident is not None
        return is_running and time.monotonic() - self._answered > self._patience_seconds

    def start(self) -> None:
        """Starts asking."""
        self._answered = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stops asking; waits for an answer that is under way."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._ask()
            self._stop.wait(_POLL_SECONDS)

    def _ask(self) -> None:
        try:
            self._latest = self._ready(self._source.list())
        except LocationsUnavailableError as error:
            if str(error) != self._failure:
                _LOGGER.warning("%s", error)
            self._failure = str(error)
            return
        self._failure = None
        self._answered = time.monotonic()


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


def read_workspace(path: Path) -> list[tuple[str, Path]]:
    """Returns the name and the socket of each code location that the workspace file names.

    Args:
        path: `workspace.yaml` as `write_workspace` left it; one that is missing or was written by
            others names none.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return []
    entries = content.get("load_from") if isinstance(content, dict) else None
    known: list[tuple[str, Path]] = []
    for entry in entries if isinstance(entries, list) else []:
        match entry:
            case {"grpc_server": {"socket": str(socket), "location_name": str(name)}}:
                known.append((name, Path(socket)))
            case _:
                return []
    return known


def _read(entry: Any) -> CodeLocation:
    match entry:
        case {"org_id": int(org_id), "org": str(org), "sha256": str(sha256), "token": str(token)}:
            if _SLUG.fullmatch(org) and _SHA256.fullmatch(sha256):
                return CodeLocation(org_id, org, sha256, token)
    raise LocationsUnavailableError("an entry is malformed")
