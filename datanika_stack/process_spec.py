"""What a process of the stack is: what to start, how to know that it serves, what `status` says of it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from datanika_stack.health import HealthCheck, always

_LONGEST_PAUSE_SECONDS: Final = 15.0
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
        longest_pause_seconds: What the growing pauses between restarts grow up to.
        longest_log_bytes: How much its log may grow before it is moved aside.
        uid: The user and group it runs as, where that is not this process's own.
        stop_signal: What asks it to end.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    working_dir: Path
    health: HealthCheck = always
    ready_seconds: float = 90.0
    grace_seconds: float = 10.0
    hung_seconds: float = 90.0
    longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS
    longest_log_bytes: int = _LONGEST_LOG_BYTES
    uid: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class ProcessInfo:
    """What `status` says about a process; `reason` is why it ended last or could not be started."""

    name: str
    pid: int | None
    state: str
    restarts: int
    started_at: str | None
    created_at: float | None
    reason: str | None = None
