"""Asks the control plane which orgs have a published manifest, and writes Dagster's workspace file.

Knows the internal API's answer and the file's format, no process.
"""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from datanika_manifest.code_location import ManifestError, read
from datanika_stack.errors import (
    TROUBLE_OF_ONE,
    ControlPlaneUnavailableError,
    LocationsUnavailableError,
)
from datanika_stack.internal_api import InternalApi
from datanika_stack.private_files import write_private
from datanika_stack.wakefulness import NOTHING_AUTOMATIC, Automation

_LOGGER: Final = logging.getLogger(__name__)
_POLL_SECONDS: Final = 1.0
# So long the last list is taken for good before somebody should look.
_PATIENCE_SECONDS: Final = 60.0
# So long one pass may read manifests that are new to it.
_READING_SECONDS: Final = 2.0
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
        automation: What of it happens without a person, as far as that is known.
    """

    org_id: int
    org: str
    sha256: str
    token: str = field(repr=False)
    automation: Automation = NOTHING_AUTOMATIC

    @property
    def name(self) -> str:
        """The name that Dagster shows."""
        return f"org_{self.org}"


class Automations:
    """What is automatic in each published manifest: asked for once, since it never changes.

    What cannot be read now is asked for later. Until then the org's server is woken by whoever needs
    it, which is a few seconds late and no loss.

    Args:
        api: Whom to ask, with each org's own token.
    """

    def __init__(self, api: InternalApi) -> None:
        self._api = api
        self._known: dict[tuple[int, str], Automation] = {}
        self._ask_again: dict[tuple[int, str], float] = {}

    def added_to(self, locations: "list[CodeLocation]") -> "list[CodeLocation]":
        """Returns the locations with what is known of their automation."""
        keys = {(location.org_id, location.sha256) for location in locations}
        self._known = {key: known for key, known in self._known.items() if key in keys}
        self._ask_again = {key: at for key, at in self._ask_again.items() if key in keys}
        until = time.monotonic() + _READING_SECONDS
        return [replace(location, automation=self._of(location, until)) for location in locations]

    def _of(self, location: CodeLocation, until: float) -> Automation:
        key, now = (location.org_id, location.sha256), time.monotonic()
        if key not in self._known and self._ask_again.get(key, 0.0) <= now < until:
            try:
                self._known[key] = self._read(location)
            except (ManifestError, *TROUBLE_OF_ONE) as error:
                _LOGGER.warning("the manifest of %s cannot be read: %s", location.name, error)
                self._ask_again[key] = now + _PATIENCE_SECONDS
        return self._known.get(key, NOTHING_AUTOMATIC)

    def _read(self, location: CodeLocation) -> Automation:
        api = InternalApi(self._api.control_plane_url, location.token)
        content = api.get(f"/orgs/{location.org}/manifests/{location.sha256}")
        text = content.get("manifest") if isinstance(content, dict) else None
        if not isinstance(text, str):
            raise ManifestError("the answer has no manifest")
        return Automation.of(read(text, sha256=location.sha256, org=location.org))


class LocationSource:
    """The control plane's list of published manifests.

    Args:
        api: Whom to ask.
    """

    def __init__(self, api: InternalApi) -> None:
        self._api = api
        self._automations = Automations(api)

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
        return self._automations.added_to([_read(entry) for entry in entries])


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
        self._thread = self._make_thread()
        self._answered = time.monotonic()
        self._failure: str | None = None
        self._latest: list[CodeLocation] | None = None

    @property
    def latest(self) -> "list[CodeLocation] | None":
        """The last list that was good; None before the first."""
        return self._latest

    def is_stale(self) -> bool:
        """Returns whether it has failed for so long that somebody should look."""
        if self._thread.ident is None:
            return False
        is_late = time.monotonic() - self._answered > self._patience_seconds
        return is_late or not self._thread.is_alive()

    def start(self) -> None:
        """Starts asking."""
        self._answered = time.monotonic()
        self._thread.start()

    def keep_asking(self) -> None:
        """Goes on where the thread has died of what nobody had thought of; its traceback is in the log."""
        has_died = self._thread.ident is not None and not self._thread.is_alive()
        if has_died and not self._stop.is_set():
            _LOGGER.error("whoever asks for the published manifests has died; another one goes on")
            self._thread = self._make_thread()
            self._thread.start()

    def stop(self) -> None:
        """Stops asking; waits for an answer that is under way."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="locations", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._ask()
            self._stop.wait(_POLL_SECONDS)

    def _ask(self) -> None:
        try:
            self._latest = self._ready(self._source.list())
        except LocationsUnavailableError as error:
            self._say(str(error))
        except TROUBLE_OF_ONE as error:
            self._say(f"the published manifests are not used: {error}")
        else:
            self._failure = None
            self._answered = time.monotonic()

    def _say(self, failure: str) -> None:
        if failure != self._failure:
            _LOGGER.warning("%s", failure)
        self._failure = failure


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
