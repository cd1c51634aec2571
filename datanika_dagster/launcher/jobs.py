"""Every kind of job and task, and how one is called. A new kind is one line here.

Entries are imported by name in the process that runs them: no other process pays for dlt or dbt,
or holds them in memory beside another job's secrets.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import JsonValue

from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher import full_disk
from datanika_dagster.launcher.job import Job, JobError, Secrets

JOBS: dict[str, str] = {
    "connection_test": "datanika_dagster.connectors.connection_test:run",
    "discover": "datanika_dagster.connectors.discover:run",
    "dbt_parse": "datanika_dagster.transformations.parse_job:run",
    "preview": "datanika_dagster.transformations.preview_job:run",
    "sample": "datanika_dagster.transformations.sample_job:run",
    "upload": "datanika_dagster.uploads.job:run",
    "dbt_build": "datanika_dagster.transformations.build_job:run",
}

Entry = Callable[[Job, dict[str, Any], Secrets], JsonValue]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        value: What its entry returned, where it did.
        error: `{"code", "message", "field"}`, where it failed; not yet redacted.
        is_retryable: True where the same job may succeed later.
    """

    value: JsonValue = None
    error: Mapping[str, str | None] | None = None
    is_retryable: bool = False

    def as_message(self) -> dict[str, JsonValue]:
        """Returns the form in which it crosses a process boundary."""
        if self.error is None:
            return {"ok": True, "value": self.value}
        return {"ok": False, "error": cast("JsonValue", dict(self.error))}


def invoke(kind: str, job: Job, payload: dict[str, Any], secrets: Secrets) -> Outcome:
    """Runs a job in this process.

    Args:
        kind: A name of `JOBS`.
        job: The job's channel.
        payload: What to do, JSON.
        secrets: The connections it may use.

    Returns:
        How it ended; a job's failure is a result, not an exception.
    """
    try:
        return Outcome(value=_entry(kind)(job, payload, secrets))
    except JobError as error:
        if full_disk.is_cause_of(error):
            return _DISK_FULL
        return Outcome(
            error={"code": error.code, "message": error.message, "field": error.field},
            is_retryable=error.is_retryable,
        )
    except Exception as error:  # noqa: BLE001 - the process ends with this; nothing goes on
        if full_disk.is_cause_of(error):
            return _DISK_FULL
        # The class and the message only: a traceback would show values, secrets among them.
        message = f"{type(error).__name__}: {error}"
        return Outcome(error={"code": "job.failed", "message": message, "field": None})


_DISK_FULL = Outcome(
    error={"code": "job.disk_full", "message": full_disk.MESSAGE, "field": None}, is_retryable=True
)


def _entry(kind: str) -> Entry:
    if kind not in JOBS:
        raise ExecutionError(f"Unknown job '{kind}'; known: {', '.join(sorted(JOBS))}.")
    module, _, function = JOBS[kind].partition(":")
    return getattr(importlib.import_module(module), function)
