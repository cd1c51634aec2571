"""What a child of the worker host is for, and what it is allowed to have. Knows no system call."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal


class Level(StrEnum):
    """How far the operating system keeps children apart (architecture, decision 12)."""

    USERS = "users"
    """An unprivileged user per org, and namespaces: the host is root."""

    NAMESPACES = "namespaces"
    """One user, but each job in user, mount and process namespaces of its own."""

    NONE = "none"
    """Single trust: every job can do what the stack's own user can."""


@dataclass(frozen=True)
class Principal:
    """For whom a child works, and as what.

    Attributes:
        org_id: The org, as the host's own registry says and not as the child does.
        kind: A `run` speaks to Dagster's storage and evaluates nothing that a tenant wrote; a `job`
            evaluates it and has no credential of the platform.
    """

    org_id: int
    kind: Literal["run", "job"]


@dataclass(frozen=True)
class Limits:
    """What a child may use at most; None: no limit of ours.

    Attributes:
        memory_bytes: Of private memory.
        cpu_seconds: Of processor time.
        processes: How many processes it may have at once.
        open_files: How many descriptors it may have.
        file_bytes: How large one file may become.
        disk_bytes: How much may lie in its working directory.
    """

    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    processes: int | None = None
    open_files: int | None = None
    file_bytes: int | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True)
class Surroundings:
    """Where a child works.

    Attributes:
        work_dir: Its own fresh directory.
        writable: Other directories that its org owns.
        readable: Other places of the platform's home that it may read.
        has_network: False where all it needs are local files.
        limits: What it may use.
    """

    work_dir: Path
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    has_network: bool = True
    limits: Limits = field(default_factory=Limits)
