"""One process of the stack: starts it, watches it, starts it again with growing pauses, ends it.

Knows nothing of what the process does. All methods return at once except `end`.
"""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import psutil

from datanika_stack.clock import utc_now
from datanika_stack.health import HealthCheck, always
from datanika_stack.process_tree import descendants, end_all

_LOGGER: Final = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 15.0
_STABLE_SECONDS: Final = 30.0
_CHECK_SECONDS: Final = 5.0
_STARTING_CHECK_SECONDS: Final = 0.1
_LONGEST_LOG_BYTES: Final = 20_000_000


class ProcessState(StrEnum):
    """What a process of the stack is doing."""

    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ProcessSpec:
    """What to start and how to know that it serves.

    Attributes:
        name: Unique in the stack; names the log file.
        command: Program and arguments; never a secret.
        environment: The whole environment of the process.
        working_dir: Where it runs.
        health: Asked while it starts and from time to time later.
        ready_seconds: How long it may take to serve before it is started anew.
        grace_seconds: How long it may take to end before it is killed.
        hung_seconds: How long it may stay unhealthy before it is started anew.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    working_dir: Path
    health: HealthCheck = always
    ready_seconds: float = 90.0
    grace_seconds: float = 10.0
    hung_seconds: float = 90.0


@dataclass(frozen=True)
class ProcessInfo:
    """What `status` says about a process."""

    name: str
    pid: int | None
    state: str
    restarts: int
    started_at: str | None
    created_at: float | None


class ManagedProcess:
    """A process that is kept running as its spec says.

    Args:
        spec: What to run; `replace` changes it.
        log_dir: Directory of `<name>.log`.
    """

    def __init__(self, spec: ProcessSpec, log_dir: Path) -> None:
        self.spec = spec
        self.state = ProcessState.STOPPED
        self.restarts = 0
        self._log_dir = log_dir
        self._process: subprocess.Popen[Any] | None = None
        self._started_at: datetime | None = None
        self._created_at: float | None = None
        self._started = 0.0
        self._healthy = 0.0
        self._next_check = 0.0
        self._next_start = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._kill_at: float | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it lives."""
        return self._process.pid if self._process else None

    def info(self) -> ProcessInfo:
        """Returns a snapshot for the state file."""
        started_at = self._started_at.isoformat() if self._started_at and self._process else None
        created_at = self._created_at if self._process else None
        return ProcessInfo(
            self.spec.name, self.pid, self.state.value, self.restarts, started_at, created_at
        )

    def start(self) -> None:
        """Starts the process, or waits to try again where the system refuses it."""
        try:
            self._process = self._open()
        except OSError as error:  # a full disk, no process left
            _LOGGER.warning("cannot start %s: %s", self.spec.name, error)
            self._try_later(time.monotonic())
            return
        self._created_at = _create_time(self._process.pid)
        self._started_at = utc_now()
        self._started = self._healthy = time.monotonic()
        self._next_check = 0.0
        self._kill_at = None
        self.state = ProcessState.STARTING

    def tick(self) -> None:
        """Looks at the process and does what is due: health, restart, kill after the grace."""
        now = time.monotonic()
        if self._process is None:
            if self.state is ProcessState.WAITING and now >= self._next_start:
                self.start()
            return
        if self._process.poll() is not None:
            self._has_ended(now)
        elif self._kill_at is not None:
            if now >= self._kill_at:
                self._signal_group(signal.SIGKILL)
        elif now >= self._next_check:
            self._check(now)

    def replace(self, spec: ProcessSpec) -> None:
        """Ends the process and starts the new spec once the old one is gone."""
        self.spec = spec
        if self._process is None:
            self._wait_and_start(time.monotonic(), pause_seconds=0.0)
        else:
            self._ask_to_end()

    def stop(self) -> None:
        """Asks the process to end for good; `tick` kills it after the grace."""
        if self._process is None:
            self.state = ProcessState.STOPPED
            return
        self._ask_to_end()
        self.state = ProcessState.STOPPING

    def end(self, *, grace_seconds: float | None = None) -> None:
        """Ends the process and everything it started, and waits for that.

        Args:
            grace_seconds: Overrides the spec's grace; 0 kills at once.
        """
        process, self._process = self._process, None
        self.state = ProcessState.STOPPED
        if process is None:
            return
        grace = self.spec.grace_seconds if grace_seconds is None else grace_seconds
        below = descendants(process.pid)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        end_all(below, grace_seconds=min(grace, 5.0))

    def kill(self) -> None:
        """Kills the process and its group at once, without waiting."""
        self._signal_group(signal.SIGKILL)

    def _open(self) -> "subprocess.Popen[Any]":
        path = self._log_dir / f"{self.spec.name}.log"
        if path.exists() and path.stat().st_size > _LONGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603 - the stack's own commands
                self.spec.command,
                env=dict(self.spec.environment),
                cwd=self.spec.working_dir,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    def _check(self, now: float) -> None:
        if self.spec.health():
            self._healthy = now
            self.state = ProcessState.RUNNING
            self._next_check = now + _CHECK_SECONDS
            if now - self._started > _STABLE_SECONDS:
                self._pause_seconds = _FIRST_PAUSE_SECONDS
            return
        starting = self.state is ProcessState.STARTING
        self._next_check = now + (_STARTING_CHECK_SECONDS if starting else 1.0)
        patience = self.spec.ready_seconds if starting else self.spec.hung_seconds
        if not starting:
            self.state = ProcessState.UNHEALTHY
        if now - self._healthy > patience:
            self._ask_to_end()

    def _has_ended(self, now: float) -> None:
        # What it left in its own group is gone with it; work in sessions of its own goes on.
        self._signal_group(signal.SIGKILL)
        asked = self._kill_at is not None
        self._process = None
        self._kill_at = None
        if self.state is ProcessState.STOPPING:
            self.state = ProcessState.STOPPED
        elif asked:
            self._wait_and_start(now, pause_seconds=0.0)
        else:
            self._try_later(now)

    def _try_later(self, now: float) -> None:
        self.restarts += 1
        self._wait_and_start(now, pause_seconds=self._pause_seconds)
        self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _wait_and_start(self, now: float, *, pause_seconds: float) -> None:
        self.state = ProcessState.WAITING
        self._next_start = now + pause_seconds

    def _ask_to_end(self) -> None:
        if self._process is not None and self._kill_at is None:
            self._kill_at = time.monotonic() + self.spec.grace_seconds
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _create_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return time.time()
