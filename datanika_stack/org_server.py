"""One org's code server: its process, while there is one, and what is said about it.

It is told what is published and whether the server is needed; it knows neither webserver nor daemon.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from datanika_stack.locations import CodeLocation
from datanika_stack.process_spec import ProcessSpec, ProcessState
from datanika_stack.processes import ManagedProcess
from datanika_stack.wakefulness import Wakefulness

# So long webserver and daemon have to learn that it is going to sleep, before it does.
_DROWSY_SECONDS: Final = 2.0
_FAILING_RESTARTS: Final = 2


class ServerState(StrEnum):
    """What webserver and daemon can expect of an org's code server."""

    ASLEEP = "asleep"
    STARTING = "starting"
    SERVING = "serving"
    FAILING = "failing"


@dataclass(frozen=True)
class ServerPlace:
    """Where and as whom one org's server runs.

    Attributes:
        directory: Its own, the only one it can write to; it listens in it.
        uid: Its user; None for this process's own.
    """

    directory: Path
    uid: int | None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.directory / "server.sock"

    @property
    def own_socket(self) -> str:
        """The socket as the server itself reaches it: the way there is closed to its user."""
        return str(self.socket) if self.uid is None else "/proc/self/cwd/server.sock"

    def ensure(self) -> None:
        """Makes the directory; where that fails, the start fails, says why and is tried again."""
        with contextlib.suppress(OSError):
            self.directory.mkdir(mode=0o700, exist_ok=True)
            if self.uid is not None:
                os.chown(self.directory, self.uid, self.uid)

    def remove(self) -> None:
        """Removes the directory with whatever the server has left there."""
        shutil.rmtree(self.directory, ignore_errors=True)


class OrgServer:
    """Keeps one org's code server as it has to be.

    Args:
        location: What the org has published.
        place: Where the server runs.
        make_process: Makes the process of a published location, not started yet.
    """

    def __init__(
        self,
        location: CodeLocation,
        place: ServerPlace,
        make_process: Callable[[CodeLocation], ManagedProcess],
    ) -> None:
        self.location = location
        self.wakefulness: Wakefulness | None = None
        self._place = place
        self._make_process = make_process
        self._process: ManagedProcess | None = None
        self._is_published = True
        self._drowsy_since: float | None = None

    @property
    def process(self) -> ManagedProcess | None:
        """The process; None while it sleeps."""
        return self._process

    @property
    def socket(self) -> Path:
        """Where it listens while it is awake."""
        return self._place.socket

    @property
    def is_published(self) -> bool:
        """Whether the org is there and has published something."""
        return self._is_published

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left and nobody wants it back."""
        return not self._is_published and self._process is None

    @property
    def is_due(self) -> bool:
        """Whether it could be started now."""
        return self._process is not None and self._process.is_due()

    @property
    def starting_seconds(self) -> float | None:
        """How long it has been starting; None in any other state."""
        return self._process.starting_seconds if self._process else None

    @property
    def reason(self) -> str | None:
        """Why it ended last; None while all is well."""
        process = self._process
        return process.reason if process and process.restarts else None

    def has(self, location: CodeLocation) -> bool:
        """Returns whether this is what is known to be published."""
        known = (self.location.org, self.location.sha256, self.location.automation)
        is_same = known == (location.org, location.sha256, location.automation)
        return is_same and self._is_published and self.wakefulness is not None

    def state(self) -> ServerState:
        """Returns what to expect of it."""
        process = self._process
        if process is None or self._drowsy_since is not None or self._is_leaving(process):
            return ServerState.ASLEEP
        if process.state is ProcessState.WAITING and process.restarts >= _FAILING_RESTARTS:
            return ServerState.FAILING
        is_up = process.state in (ProcessState.RUNNING, ProcessState.UNHEALTHY)
        return ServerState.SERVING if is_up and not process.is_ending else ServerState.STARTING

    def publish(self, location: CodeLocation, wakefulness: Wakefulness) -> None:
        """Takes what the org has published now; a running server is replaced by one with it."""
        changed = location.sha256 != self.location.sha256
        self.location, self.wakefulness = location, wakefulness
        self._is_published = True
        if changed and self._process and not self._is_leaving(self._process):
            self._process.replace(self._make_process(location).spec)

    def withdraw(self) -> None:
        """Ends the server: the org is suspended or deleted."""
        self._is_published = False

    def tick(self, now: datetime) -> None:
        """Wakes it or lets it sleep; whoever calls ticks the process itself.

        Args:
            now: Aware.
        """
        process = self._process
        if process is not None and process.state is ProcessState.STOPPED:
            self._process = process = None
            self._drowsy_since = None
            self._place.remove()
        if self._is_needed(now):
            self._drowsy_since = None
            if process is None:
                self._process = self._make_process(self.location)
                self._process.start_soon()
            if self.is_due:
                self._place.ensure()
        elif process is not None and not self._is_leaving(process):
            self._doze(process)

    def _is_needed(self, now: datetime) -> bool:
        if not self._is_published or self.wakefulness is None:
            return False
        state = self.state()
        if state is ServerState.STARTING:
            # Whoever has asked for it gets it; from then on it counts as unused.
            self.wakefulness.use(now)
        return self.wakefulness.is_needed(now, is_awake=state is not ServerState.ASLEEP)

    def _doze(self, process: ManagedProcess) -> None:
        now = time.monotonic()
        if self._is_published and self._drowsy_since is None:
            self._drowsy_since = now
        elif not self._is_published or now - (self._drowsy_since or now) > _DROWSY_SECONDS:
            process.stop()

    @staticmethod
    def _is_leaving(process: ManagedProcess) -> bool:
        return process.state in (ProcessState.STOPPING, ProcessState.STOPPED)


def spec_of_command(
    name: str, command: tuple[str, ...], environment: dict[str, str], place: ServerPlace
) -> ProcessSpec:
    """Returns how every code server is kept: little patience for a hang, much for a crash.

    Args:
        name: Unique in the stack.
        command: What to start; it listens on `server.sock` in its directory.
        environment: The whole environment.
        place: Where, and as whom.
    """
    return ProcessSpec(
        name,
        command,
        environment | {"HOME": str(place.directory), "TMPDIR": str(place.directory)},
        place.directory,
        ready_seconds=60.0,
        grace_seconds=3.0,
        hung_seconds=15.0,
        longest_pause_seconds=300.0,
        longest_log_bytes=2_000_000,
        uid=place.uid,
    )
