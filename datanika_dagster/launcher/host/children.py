"""The host's living children: who they are, when they are due, how they ended.

It signals and reaps. Why a child is there is its callback's business.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from datanika_dagster.launcher import processes
from datanika_dagster.launcher.fence import watch
from datanika_dagster.launcher.host import child
from datanika_dagster.launcher.host.child import Fenced, Start
from datanika_dagster.launcher.host.protocol import Code, Refusal

Kind = Literal["run", "job", "post_mortem", "errand", "upkeep"]
MAXIMUM_CHILDREN = 200
"""So many at once; more are refused, and wait in the queue."""

DEADLINE_GRACE_SECONDS = 2.0
WATCH_SECONDS = 2.0
LOOKS_PER_DISK = 5
"""Counting what lies in directories takes longer."""

_VMSTAT = Path("/proc/vmstat")


EXCESSES: Mapping[str | None, str] = {
    "memory": "it or the machine was out of memory",
    "processes": "it had too many processes",
    "disk": "it had written too much",
}


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        exit_code: Negative for a signal.
        reason: `memory`, `processes`, `disk`, `deadline` or `cancelled`, where the host knows one.
        cpu_seconds: What it and its own children used.
        peak_bytes: The most memory that it had at once.
    """

    exit_code: int
    reason: str | None
    cpu_seconds: float
    peak_bytes: int

    @property
    def in_words(self) -> str:
        """How it ended, for a run's log."""
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        killed = f"killed by {_name_of(-self.exit_code)}"
        return f"{killed}, {EXCESSES[self.reason]}" if self.reason in EXCESSES else killed


@dataclass
class Child:
    """A living child.

    Attributes:
        kind: What it is.
        label: What `info` says about it, for example its run.
        on_end: Called once it has been reaped.
        deadline: When it is ended, on the monotonic clock; None: never.
    """

    kind: Kind
    label: dict[str, Any]
    on_end: Callable[[Ending], None]
    deadline: float | None = None
    fenced: Fenced | None = None
    pid: int = 0
    started: float = field(default_factory=time.monotonic)
    kill_at: float | None = None
    reason: str | None = None
    oom_kills: int = 0


class Children:
    """All of them.

    Args:
        forget: Called in each child: lets go of what the host knows of others.
    """

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._living: dict[int, Child] = {}
        self._next_look = 0.0
        self._looks = 0
        # Before the first child: what all of them share.
        self._inherited_bytes = watch.private_bytes(os.getpid())

    @property
    def are_idle(self) -> bool:
        """Whether nobody is left but who can be stopped at any time."""
        return all(one.kind == "upkeep" for one in self._living.values())

    def of_kind(self, *kinds: Kind) -> list[Child]:
        """Returns those of some kinds."""
        return [one for one in self._living.values() if one.kind in kinds]

    def fork(self, one: Child, start: Start) -> Child:
        """Starts a child.

        Raises:
            Refusal: There are too many, or the system refuses another one.
        """
        # What reports and tidies up must never be refused.
        if len(self._living) >= MAXIMUM_CHILDREN and one.kind in ("run", "job"):
            raise Refusal(Code.FULL, f"{MAXIMUM_CHILDREN} children run already.")
        one.oom_kills = _oom_kills()
        one.fenced = start.fenced
        try:
            one.pid = child.fork(start, self._forget)
        except OSError as error:
            raise Refusal(Code.FULL, f"No further process: {error.strerror}.") from None
        self._living[one.pid] = one
        return one

    def stop(
        self, one: Child, signal_number: int, *, grace_seconds: float, reason: str | None = None
    ) -> None:
        """Signals a child and everything in its session, and kills it after the grace.

        Asked again, what is earlier holds.
        """
        if one.pid not in self._living:
            return
        one.reason = one.reason or reason
        kill_at = time.monotonic() + grace_seconds
        one.kill_at = min(kill_at, one.kill_at or kill_at)
        _signal(one.pid, signal_number)

    def kill(self, one: Child, reason: str | None = None) -> None:
        """Kills a child and everything in its session at once."""
        self.stop(one, signal.SIGKILL, grace_seconds=0.0, reason=reason)

    def next_due(self) -> float | None:
        """Returns when `do_what_is_due` has something to do, on the monotonic clock."""
        due = [one.kill_at or one.deadline for one in self._living.values()]
        if self._living:
            due.append(self._next_look)
        return min((moment for moment in due if moment is not None), default=None)

    def do_what_is_due(self) -> None:
        """Ends those that are past their deadline, kills those that were asked in vain."""
        now = time.monotonic()
        for one in list(self._living.values()):
            if one.kill_at is not None:
                if now >= one.kill_at:
                    one.kill_at = now + 1.0  # asked again until it is gone
                    _signal(one.pid, signal.SIGKILL)
            elif one.deadline is not None and now >= one.deadline:
                self.stop(
                    one, signal.SIGINT, grace_seconds=DEADLINE_GRACE_SECONDS, reason="deadline"
                )

    def watch(self) -> None:
        """Kills those that use too much together with what they have started."""
        now = time.monotonic()
        if not self._living or now < self._next_look:
            return
        self._next_look = now + WATCH_SECONDS
        self._looks += 1
        watched = [
            watch.Watched(
                one.pid,
                one.fenced.surroundings.work_dir,
                one.fenced.surroundings.limits,
                self._inherited_bytes,
                # A run's steps log there; a project that a job generates is kept, and is no scratch.
                one.fenced.surroundings.writable if one.kind == "run" else (),
            )
            for one in self._living.values()
            if one.fenced is not None
        ]
        with_disk = self._looks % LOOKS_PER_DISK == 0
        for pid, excess in watch.excesses(watched, with_disk=with_disk).items():
            self.kill(self._living[pid], excess)

    def reap(self) -> None:
        """Collects the children that have ended, with what they left in their sessions."""
        for pid in list(self._living):
            if not _has_ended(pid):
                continue
            # Before it is collected: afterwards the number may be somebody else's.
            processes.signal_group(pid, signal.SIGKILL)
            _, status, used = os.wait4(pid, 0)
            one = self._living.pop(pid)
            exit_code = os.waitstatus_to_exitcode(status)
            one.on_end(
                Ending(
                    exit_code,
                    _reason(one, exit_code),
                    round(used.ru_utime + used.ru_stime, 3),
                    used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
                )
            )

    def clear(self) -> None:
        """Forgets all of them, in a child."""
        self._living.clear()


def _has_ended(pid: int) -> bool:
    """Tells whether a child waits to be collected, and leaves it so."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _signal(pid: int, number: int) -> None:
    """Signals a child that has not been collected yet, with its session where it has one already.

    The first process of a child's own namespace is killed before whoever waits for it: with it the
    kernel ends all others there, and it need not learn that its parent has gone.
    """
    if number == signal.SIGKILL:
        for inner in processes.children_of(pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(inner, number)
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.kill(pid, number)


def _reason(one: Child, exit_code: int) -> str | None:
    if one.reason is None and exit_code == -signal.SIGKILL and _oom_kills() > one.oom_kills:
        return "memory"
    return one.reason


def _oom_kills() -> int:
    """Returns how many processes this machine has killed for want of memory."""
    with contextlib.suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
