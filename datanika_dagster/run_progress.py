"""Which way a run may go: it is executed once, and what has ended or is being cancelled stays so.

Dagster writes a run's status without looking at the one that is there, so of two processes that write
at the same time the later one wins, and a cancellation could be lost
(docs/decisions/0129-a-run-is-executed-once.md).
"""

from collections.abc import Mapping
from typing import Final

from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES

_ENDED: Final = frozenset(FINISHED_STATUSES)
_ENDING: Final = _ENDED | {DagsterRunStatus.CANCELING}
_EXECUTING: Final = _ENDING | {DagsterRunStatus.STARTED}

NOT_AFTER: Final[Mapping[DagsterEventType, frozenset[DagsterRunStatus]]] = {
    DagsterEventType.RUN_ENQUEUED: _EXECUTING,
    DagsterEventType.RUN_STARTING: _EXECUTING,
    DagsterEventType.RUN_START: _ENDING,
    DagsterEventType.RUN_CANCELING: _ENDED,
}
"""Events that change no run's status from one of these."""

CLAIM: Final = """
    INSERT INTO datanika.run_claims (run_id)
    SELECT run_id FROM public.runs WHERE run_id = :run_id AND status = 'STARTING'
    ON CONFLICT DO NOTHING
"""
IS_CLAIMED: Final = "SELECT 1 FROM datanika.run_claims WHERE run_id = :run_id"
