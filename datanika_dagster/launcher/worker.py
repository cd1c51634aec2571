"""Which process a run's worker is, so that another process can tell later whether it lives.

A process id alone says little: ids are used again, a killed child is a zombie for a while, and
another container has processes of its own under the same numbers.
"""

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

PS = "/bin/ps"
STATE_FIELD = 0
START_FIELD = 19


@dataclass(frozen=True)
class Worker:
    """One process, unmistakably.

    Attributes:
        machine: Where process ids mean the same as here: one boot, one container.
        pid: The process id.
        started: When it started, as the system writes it.
        host: The worker host whose child it is; empty for other processes.
    """

    machine: str
    pid: int
    started: str
    host: str = ""

    def as_tag(self) -> str:
        """Returns the text that a run is tagged with."""
        return TypeAdapter(dict[str, str | int]).dump_json(asdict(self)).decode()


def of_pid(pid: int) -> Worker | None:
    """Returns the worker of a running process, None where it has ended."""
    started = _start_time(pid)
    return Worker(machine(), pid, started) if started else None


def from_tag(text: str | None) -> Worker | None:
    """Returns the worker that a run is tagged with, None without a proper tag."""
    try:
        return TypeAdapter(Worker).validate_json(text or "")
    except ValidationError:
        return None


def is_here(worker: Worker) -> bool:
    """Tells whether this process could see and signal the worker."""
    return worker.machine == machine()


def is_alive(worker: Worker) -> bool:
    """Tells whether the worker runs on this machine."""
    return is_here(worker) and _start_time(worker.pid) == worker.started


def machine() -> str:
    """Returns what identifies the space that process ids of this process belong to."""
    if sys.platform != "linux":
        return sys.platform
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"


def _start_time(pid: int) -> str | None:
    if sys.platform == "linux":
        return _start_time_of_proc(pid)
    shown = subprocess.run(  # noqa: S603 - a number of our own
        [PS, "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = shown.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


def _start_time_of_proc(pid: int) -> str | None:
    try:
        # The name in parentheses may hold spaces and parentheses itself.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields[START_FIELD] if fields[STATE_FIELD] not in "ZX" else None
