"""One process of the stack: starts it, watches it, starts it again with growing pauses, ends it.

Knows nothing of what the process does. All methods return at once except `end`.
"""

import contextlib
import logging
import os
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil

from datanika_stack.clock import utc_now
from datanika_stack.process_log import ProcessLog
from datanika_stack.process_spec import ProcessInfo, ProcessSpec, ProcessState
from datanika_stack.process_tree import descendants, end_all

_LOGGER: Final = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.2
_STABLE_SECONDS: Final = 30.0
_CHECK_SECONDS: Final = 5.0
_STARTING_CHECK_SECONDS: Final = 0.1
_PENDING_CHECK_SECONDS: Final = 0.05
# A full disk, no process left, a user that there cannot be.
_REFUSALS: Final = (OSError, ValueError, OverflowError, subprocess.SubprocessError)


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
        self.reason: str | None = None
        self._log = ProcessLog(log_dir / f"{spec.name}.log", spec.longest_log_bytes)
        self._process: subprocess.Popen[Any] | None = None
        self._started_at: datetime | None = None
        self._created_at: float | None = None
        self._started = 0.0
        self._healthy = 0.0
        self._next_check = 0.0
        self._next_start = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._kill_at: float | None = None
        self._has_hung = False

    @property
    def pid(self) -> int | None:
        """The process id while it lives."""
        return self._process.pid if self._process else None

    def info(self) -> ProcessInfo:
        """Returns a snapshot for the state file."""
        started_at = self._started_at.isoformat() if self._started_at and self._process else None
        created_at = self._created_at if self._process else None
        state = self.state.value
        name, pid = self.spec.name, self.pid
        return ProcessInfo(name, pid, state, self.restarts, started_at, created_at, self.reason)

    @property
    def is_ending(self) -> bool:
        """Whether it has been asked to end and is not gone yet."""
        return self._kill_at is not None

    @property
    def starting_seconds(self) -> float | None:
        """How long it has been starting; None in any other state."""
        if self.state is not ProcessState.STARTING:
            return None
        return time.monotonic() - self._started

    def start_soon(self) -> None:
        """Lets the next `tick` that may start something start the process."""
        if self._process is None:
            self._wait_and_start(time.monotonic(), pause_seconds=0.0)

    def start(self) -> None:
        """Starts the process, or waits to try again where the system refuses it."""
        try:
            self._process = self._open()
        except _REFUSALS as error:
            self.reason = f"it cannot be started: {error}"
            _LOGGER.warning("cannot start %s: %s", self.spec.name, error)
            self._try_later(time.monotonic())
            return
        self._created_at = _create_time(self._process.pid)
        self._started_at = utc_now()
        self._started = self._healthy = time.monotonic()
        self._next_check = 0.0
        self._kill_at = None
        self.state = ProcessState.STARTING

    def is_due(self) -> bool:
        """Returns whether it waits and its pause is over."""
        is_waiting = self._process is None and self.state is ProcessState.WAITING
        return is_waiting and time.monotonic() >= self._next_start

    def tick(self, *, may_start: bool = True) -> None:
        """Looks at the process and does what is due: health, restart, kill after the grace.

        Args:
            may_start: Whether it may be started just now.
        """
        now = time.monotonic()
        if self._process is None:
            if may_start and self.is_due():
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

    def retire(self) -> None:
        """Tells the process to end when its work is done, however long that takes.

        It is told by SIGTERM, which a process with another stop signal takes for that. One that
        hangs is ended all the same.
        """
        if self._process is not None and self.state is not ProcessState.STOPPING:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            self.state = ProcessState.STOPPING
            # From now on: it may have been hanging since long before.
            self._healthy = time.monotonic()

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
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.spec.stop_signal)
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
        with self._log.opened() as descriptor:
            return subprocess.Popen(  # noqa: S603 - the stack's own commands
                self.spec.command,
                env=dict(self.spec.environment),
                cwd=self.spec.working_dir,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                user=self.spec.uid,
                group=self.spec.uid,
                extra_groups=None if self.spec.uid is None else [],
            )

    def _check(self, now: float) -> None:
        self._log.bound()
        is_healthy = self.spec.health()
        if is_healthy is None:
            self._next_check = now + _PENDING_CHECK_SECONDS
            return
        is_retiring = self.state is ProcessState.STOPPING
        if is_healthy:
            self._healthy = now
            self.state = ProcessState.STOPPING if is_retiring else ProcessState.RUNNING
            self._next_check = now + _CHECK_SECONDS
            if now - self._started > _STABLE_SECONDS:
                self._pause_seconds = _FIRST_PAUSE_SECONDS
            return
        starting = self.state is ProcessState.STARTING
        self._next_check = now + (_STARTING_CHECK_SECONDS if starting else 1.0)
        patience = self.spec.ready_seconds if starting else self.spec.hung_seconds
        if not starting and not is_retiring:
            self.state = ProcessState.UNHEALTHY
        if now - self._healthy > patience:
            self.reason = f"it has not answered for {patience:.0f} seconds"
            # A hang is a failure: what hangs again and again must not be started again at once.
            self._has_hung = True
            self._ask_to_end()

    def _has_ended(self, now: float) -> None:
        # What it left in its own group is gone with it; work in sessions of its own goes on.
        self._signal_group(signal.SIGKILL)
        asked = self._kill_at is not None and not self._has_hung
        if self._kill_at is None and self._process is not None:
            self.reason = self._ending(self._process.returncode)
        self._process = None
        self._kill_at = None
        self._has_hung = False
        if self.state is ProcessState.STOPPING:
            self.state = ProcessState.STOPPED
        elif asked:
            self._wait_and_start(now, pause_seconds=0.0)
        else:
            self._try_later(now)

    def _try_later(self, now: float) -> None:
        self.restarts += 1
        self._wait_and_start(now, pause_seconds=self._pause_seconds)
        longest = self.spec.longest_pause_seconds
        self._pause_seconds = min(self._pause_seconds * 2, longest)

    def _wait_and_start(self, now: float, *, pause_seconds: float) -> None:
        self.state = ProcessState.WAITING
        self._next_start = now + pause_seconds

    def _ending(self, code: int) -> str:
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        last = self._log.last_line()
        return f"{how}: {last}" if last else how

    def _ask_to_end(self) -> None:
        if self._process is not None and self._kill_at is None:
            self._kill_at = time.monotonic() + self.spec.grace_seconds
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self.spec.stop_signal)

    def _signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _create_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return time.time()
