"""The fence around the children of a worker host: made once at its start, entered by each child."""

import resource
import sys
from dataclasses import dataclass

from datanika_dagster.launcher import processes
from datanika_dagster.launcher.fence.surroundings import Level, Limits, Principal, Surroundings

_RESOURCES = {
    "cpu_seconds": resource.RLIMIT_CPU,
    "processes": resource.RLIMIT_NPROC,
    "open_files": resource.RLIMIT_NOFILE,
    "file_bytes": resource.RLIMIT_FSIZE,
}


@dataclass(frozen=True)
class Fence:
    """What this machine lets the host do to keep its children apart.

    Attributes:
        level: How far.
        reason: Why not further, in the words of whoever may change it; empty at the highest level.
    """

    level: Level
    reason: str = ""

    def prepare(self, principal: Principal, surroundings: Surroundings) -> None:
        """Gives a child's directories to its user; the host calls it before it forks."""

    def enter(self, principal: Principal, surroundings: Surroundings) -> None:
        """Fences this process in; the child calls it once, before it reads what to do.

        Returns in the process that goes on, which need not be the one that called.
        """
        _limit(surroundings.limits)
        processes.forbid_privileges()


def probe() -> Fence:
    """Finds out what this machine allows; the host calls it once, before it serves."""
    reason = f"{sys.platform} has no namespaces" if sys.platform != "linux" else "not looked for"
    return Fence(Level.NONE, reason)


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    for name, number in _RESOURCES.items():
        value = getattr(limits, name)
        if value is not None:
            resource.setrlimit(number, (value, value))
