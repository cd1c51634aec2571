"""Runs that were being launched when the launching process, or the worker, was killed.

Dagster's monitoring asks for the health of started runs alone; one that was killed before would look
as if it were starting until its time is up.
"""

import logging
from typing import Final

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.launcher.base import WorkerStatus

from datanika_dagster.tags import WORKER_TAG

_LOGGER: Final = logging.getLogger(__name__)


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
    if WORKER_TAG not in now.tags:
        instance.report_dagster_event(DagsterEvent.job_enqueue(now), now.run_id)
        return
    instance.event_log_storage.free_concurrency_slots_for_run(now.run_id)
    instance.report_run_failed(now, f"The run's process died before it started: {health.msg}.")


def _starting(instance: DagsterInstance, run_id: str) -> DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run and run.status is DagsterRunStatus.STARTING else None
