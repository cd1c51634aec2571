"""Which way a run may go: it is executed once, and what has ended or is being cancelled stays so.

Dagster writes a run's status without looking at the one that is there, so of two processes that write
at the same time the later one wins, and a cancellation could be lost
(docs/decisions/0129-a-run-is-executed-once.md).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as db
from dagster import DagsterEvent, DagsterEventType, DagsterRun, DagsterRunStatus
from dagster._core.events import (
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    JobFailureData,
    RunFailureReason,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG
from sqlalchemy import Connection

_ENDED: Final = frozenset(FINISHED_STATUSES)
_ENDING: Final = _ENDED | {DagsterRunStatus.CANCELING}
_EXECUTING: Final = _ENDING | {DagsterRunStatus.STARTED}

NOT_AFTER: Final[Mapping[DagsterEventType, frozenset[DagsterRunStatus]]] = {
    DagsterEventType.RUN_ENQUEUED: _EXECUTING,
    DagsterEventType.RUN_STARTING: _EXECUTING,
    DagsterEventType.RUN_START: _ENDING,
    DagsterEventType.RUN_CANCELING: _ENDED,
    DagsterEventType.RUN_SUCCESS: _ENDED,
    DagsterEventType.RUN_FAILURE: _ENDED,
    DagsterEventType.RUN_CANCELED: _ENDED,
}
"""Events that change no run's status from one of these."""

NOT_CLAIMED: Final = frozenset({DagsterEventType.RUN_ENQUEUED, DagsterEventType.RUN_STARTING})
"""Events that change no run's status once a process has begun to execute it."""

ENDINGS: Final = frozenset(
    {DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
)

# The row is locked, here and where a status is written: each sees what the other has done.
CLAIM: Final = """
    INSERT INTO datanika.run_claims (run_id, claimant)
    SELECT run_id, CAST(:claimant AS text) FROM public.runs
    WHERE run_id = :run_id AND status = 'STARTING' FOR UPDATE
    ON CONFLICT DO NOTHING
"""
IS_CLAIMED: Final = "SELECT 1 FROM datanika.run_claims WHERE run_id = :run_id"
IS_CLAIMED_BY_ANOTHER: Final = f"{IS_CLAIMED} AND claimant IS DISTINCT FROM :claimant"


def changed(
    connection: Connection, run_id: str, event: DagsterEvent, read: Callable[[Any], DagsterRun]
) -> DagsterRun | None:
    """Locks a run and returns it as it is after an event; None where the event changes nothing.

    Args:
        connection: In a transaction of READ COMMITTED, so that the second question sees what was
            committed while the first one waited.
        run_id: The run.
        event: One of those in `NOT_AFTER`.
        read: Makes a run of its row.
    """
    query = db.select(RunsTable.c.run_body, RunsTable.c.status)
    of_run = RunsTable.c.run_id == run_id
    row = connection.execute(query.where(of_run).with_for_update()).mappings().first()
    if row is None:
        return None
    run, kind = read(row), DagsterEventType(event.event_type_value)
    if run.status in NOT_AFTER[kind]:
        return None
    if kind in NOT_CLAIMED and connection.execute(db.text(IS_CLAIMED), {"run_id": run_id}).first():
        return None
    reason = failure_reason(event)
    tags = {**run.tags, RUN_FAILURE_REASON_TAG: reason} if reason else run.tags
    return run.with_tags(tags).with_status(EVENT_TYPE_TO_PIPELINE_RUN_STATUS[kind])


def failure_reason(event: DagsterEvent) -> str | None:
    """Returns the reason of a failure as Dagster's tag says it, None where there is none."""
    data = event.event_specific_data
    reason = data.failure_reason if isinstance(data, JobFailureData) else None
    return reason.value if reason and reason is not RunFailureReason.UNKNOWN else None
