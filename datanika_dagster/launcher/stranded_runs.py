"""Runs that were being launched when the launching process, or the worker, was killed.

Dagster's monitoring asks for the health of started runs alone; one that was killed before would look
as if it were starting until its time is up.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.launcher.base import WorkerStatus

from datanika_dagster.storage import StampingRunStorage
from datanika_dagster.tags import WORKER_TAG

_LOGGER: Final = logging.getLogger(__name__)
UNSUBMITTED_SECONDS: Final = 10.0
_NOT_EXECUTING: Final = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
)


def recover(instance: DagsterInstance, run: DagsterRun) -> None:
    """Puts a run back that never got a process, and fails one whose process has died.

    Args:
        instance: Where the run is.
        run: A run that says it is starting and that nobody is launching.
    """
    now = _starting(instance, run.run_id)
    if now is None:
        return
    health = instance.run_launcher.check_run_worker_health(now)
    if health.status in {WorkerStatus.RUNNING, WorkerStatus.SUCCESS, WorkerStatus.UNKNOWN}:
        return
    if _starting(instance, run.run_id) != now:
        return
    _LOGGER.warning("Run %s has no process: %s", now.run_id, health.msg)
    if WORKER_TAG not in now.tags and not _is_claimed(instance, now.run_id):
        enqueue_again(instance, now.run_id)
        return
    instance.event_log_storage.free_concurrency_slots_for_run(now.run_id)
    instance.report_run_failed(now, f"The run's process died before it started: {health.msg}.")


def enqueue_unsubmitted(instance: DagsterInstance) -> None:
    """Queues the runs that whoever made them was killed, or lost the database, before queueing."""
    before = datetime.fromtimestamp(time.time(), UTC) - timedelta(seconds=UNSUBMITTED_SECONDS)
    waiting = RunsFilter(statuses=[DagsterRunStatus.NOT_STARTED], created_before=before)
    for run in instance.get_runs(waiting):
        # One from a shell starts without a queue.
        if run.remote_job_origin is not None:
            enqueue_again(instance, run.run_id)


def enqueue_again(instance: DagsterInstance, run_id: str) -> None:
    """Puts a run back into the queue, as no attempt of its own; a cancelled one ends instead.

    Args:
        instance: Where the run is.
        run_id: A run that was to start, and has no process.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, "The run was cancelled before it had started.")
    elif run.status in _NOT_EXECUTING:
        # What is cancelled in this moment stays so: the storage lets nobody queue it any more.
        instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id)


def _is_claimed(instance: DagsterInstance, run_id: str) -> bool:
    storage = instance.run_storage
    return isinstance(storage, StampingRunStorage) and storage.is_claimed(run_id)


def _starting(instance: DagsterInstance, run_id: str) -> DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run and run.status is DagsterRunStatus.STARTING else None
