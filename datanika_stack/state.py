"""What a running supervisor tells others in `supervisor.json`, and the lock that says it runs.

Holds no secret. The lock is the truth about whether a supervisor lives: the kernel frees it when the
process dies, however it dies.
"""

import fcntl
import json
import logging
import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from datanika_stack.layout import Home
from datanika_stack.private_files import write_private
from datanika_stack.process_spec import ProcessInfo

_LOGGER: Final = logging.getLogger(__name__)


@dataclass
class StackState:
    """The content of `supervisor.json`.

    Attributes:
        state: `starting`, `running`, `restarting` (a worker host is being replaced, all is served),
            `degraded` or `stopping`; `stopped` where nothing runs.
        phase: What it does just now, for people.
        isolation: A level of the worker host's fence.
        isolation_reason: Why not a higher one.
        seal: A `SealState`; None as long as the control plane has not said.
    """

    pid: int
    created_at: float
    started_at: str
    state: str
    phase: str
    port: int
    host: str
    api_url: str
    dagster_url: str
    database_url: str
    isolation: str | None = None
    isolation_reason: str | None = None
    seal: str | None = None
    processes: list[ProcessInfo] = field(default_factory=list)

    def copy(self) -> "StackState":
        """Returns a copy that later changes do not reach."""
        return replace(self, processes=list(self.processes))

    def write(self, home: Home) -> None:
        """Replaces the state file."""
        write_private(home.state_file, json.dumps(asdict(self), indent=2) + "\n")


class StateFile:
    """Keeps `supervisor.json` as a supervisor says; what cannot be written now is tried again.

    Args:
        home: Whose.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._written: StackState | None = None
        self._is_written = True

    def write(self, state: StackState) -> None:
        """Replaces the file if anything has changed since."""
        if state == self._written:
            return
        try:
            state.write(self._home)
        except OSError as error:
            if self._is_written:
                _LOGGER.warning("cannot write %s: %s", self._home.state_file, error)
            self._is_written = False
        else:
            self._is_written = True
            self._written = state.copy()


def read_state(home: Home) -> StackState | None:
    """Returns what the last supervisor wrote, alive or not; None where there is nothing."""
    try:
        content: dict[str, Any] = json.loads(home.state_file.read_text())
        processes = [ProcessInfo(**entry) for entry in content.pop("processes")]
        return StackState(**content, processes=processes)
    except (OSError, ValueError, TypeError, KeyError):
        return None


class SupervisorLock:
    """Exclusive for the life of a process."""

    def __init__(self, home: Home) -> None:
        self._path = home.lock_file
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock; False when another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Gives the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_supervised(home: Home) -> bool:
    """Returns whether a supervisor runs in this home."""
    if not home.lock_file.exists():
        return False
    lock = SupervisorLock(home)
    if lock.acquire():
        lock.release()
        return False
    return True
