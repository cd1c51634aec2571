"""What the operating system keeps a child of the worker host from.

    fence = probe()                           # the host, once
    fence.prepare(principal, surroundings)    # the host, before each fork
    fence.enter(principal, surroundings)      # the child

It knows users, namespaces, mounts and limits, and nothing of runs or of Dagster.
"""

from datanika_dagster.launcher.fence.barrier import Fence
from datanika_dagster.launcher.fence.limits import LIMITS
from datanika_dagster.launcher.fence.probing import probe
from datanika_dagster.launcher.fence.single_trust import (
    IsolationMissing,
    ensure_allowed,
    refuses,
)
from datanika_dagster.launcher.fence.surroundings import Level, Limits, Principal, Surroundings

__all__ = [
    "LIMITS",
    "Fence",
    "IsolationMissing",
    "Level",
    "Limits",
    "Principal",
    "Surroundings",
    "ensure_allowed",
    "probe",
    "refuses",
]
