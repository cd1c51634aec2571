"""How much an org may run: what the control plane says and the execution plane keeps to."""

import re
from datetime import datetime
from typing import Final

from pydantic import Field

from datanika_manifest.base import Frozen

QUOTA_EXCEEDED: Final = "QuotaExceeded"
"""The class of the error by which Dagster's API says that an org has started its runs of the hour."""

_RETRY_AFTER: Final = re.compile(r"in (\d+) s\b")


class Quota(Frozen):
    """What one org may run."""

    parallel_runs: int = Field(default=4, ge=0, description="Runs at the same time.")
    runs_per_hour: int | None = Field(
        default=None, ge=0, description="Runs that start within any hour; null: any number."
    )


class Quotas(Frozen):
    """The platform's places, the quota of every org, and those of the orgs that have another."""

    parallel_runs: int = Field(default=10, ge=0, description="Runs of all orgs at the same time.")
    default: Quota = Quota()
    orgs: dict[str, Quota] = Field(default_factory=dict[str, Quota])


def refusal(runs_per_hour: int, next_at: datetime | None, now: datetime) -> str:
    """Returns why an org may start no run now.

    Args:
        runs_per_hour: How many it may start.
        next_at: When the next may start; None where it may start none at all.
        now: Aware, like `next_at`.
    """
    if next_at is None:
        return "This organization may start no runs; the platform's operators set its quota."
    seconds = max(1, round((next_at - now).total_seconds()))
    return (
        f"This organization has started {runs_per_hour} runs within an hour, as many as it may; "
        f"the next can start in {seconds} s."
    )


def retry_after_seconds(reason: str) -> int | None:
    """Returns when the next run may start, as `refusal` says it; None where it names no time."""
    found = _RETRY_AFTER.search(reason)
    return int(found[1]) if found else None
