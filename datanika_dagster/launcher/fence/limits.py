"""What a child may use at most, as one table, and how the kernel is told. Knows no runs."""

import resource
from collections.abc import Mapping
from typing import Final, Literal

from datanika_dagster.launcher.fence.surroundings import Limits

_GIB: Final = 1 << 30

LIMITS: Final[Mapping[Literal["run", "job"], Limits]] = {
    "run": Limits(
        memory_bytes=2 * _GIB,
        cpu_seconds=4 * 3600,
        processes=256,
        open_files=1024,
        file_bytes=1 * _GIB,
        disk_bytes=2 * _GIB,
    ),
    "job": Limits(
        memory_bytes=4 * _GIB,
        cpu_seconds=12 * 3600,
        processes=256,
        open_files=1024,
        file_bytes=8 * _GIB,
        disk_bytes=16 * _GIB,
    ),
}

ADDRESS_SLACK_BYTES: Final = 2 * _GIB
"""Allocators reserve more than they use: the kernel refuses what is far above the limit, the watch
ends what is above it."""

CHILDREN_OF_A_USER: Final = 4
"""The kernel counts processes over all children of a user: so many may use up what each may."""

_RESOURCES: Final = {
    "cpu_seconds": resource.RLIMIT_CPU,
    "open_files": resource.RLIMIT_NOFILE,
    "file_bytes": resource.RLIMIT_FSIZE,
}


def apply(limits: Limits, *, is_shared_user: bool) -> None:
    """Sets this process's limits for good, never above what it has already.

    Args:
        limits: What to allow.
        is_shared_user: The kernel counts processes per user: where the stack has the same user,
            that limit would be the stack's own, and only the watch holds it.
    """
    _set(resource.RLIMIT_CORE, 0)
    if limits.memory_bytes is not None:
        _set(resource.RLIMIT_DATA, limits.memory_bytes + ADDRESS_SLACK_BYTES)
    if limits.processes is not None and not is_shared_user:
        _set(resource.RLIMIT_NPROC, CHILDREN_OF_A_USER * limits.processes)
    for name, number in _RESOURCES.items():
        value = getattr(limits, name)
        if value is not None:
            _set(number, value)


def _set(number: int, value: int) -> None:
    _, highest = resource.getrlimit(number)
    if highest != resource.RLIM_INFINITY:
        value = min(value, highest)
    resource.setrlimit(number, (value, value))
