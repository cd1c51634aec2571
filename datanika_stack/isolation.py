"""How far the operating system keeps orgs' jobs apart where this stack runs, for people to read."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from datanika_dagster.launcher.fence import Level, probe
from datanika_dagster.settings import Settings


@dataclass(frozen=True)
class Isolation:
    """What the worker host finds on this machine, tried as it does itself.

    Attributes:
        level: How far jobs are kept apart.
        reason: Why not further; empty at the highest level.
    """

    level: Level
    reason: str

    @property
    def in_words(self) -> str:
        """A line for whoever starts the stack."""
        if self.level is Level.USERS:
            return "Jobs of each org have users, processes and a file system of their own"
        if self.level is Level.NAMESPACES:
            return f"Jobs have processes and a file system of their own; {self.reason}"
        return (
            "Jobs of all orgs run as one operating-system user: let nobody write models or "
            f"connections whom you do not trust ({self.reason})"
        )


@cache
def isolation_of(home: Path, worker_uid_base: int) -> Isolation:
    """Returns what this process and those that it starts can do, tried once."""
    fence = probe(Settings(home=home, worker_uid_base=worker_uid_base))
    return Isolation(fence.level, fence.reason)
