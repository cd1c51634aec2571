"""Says how a run has ended that could not do it itself, in a child of the host with the run's own order.

Without it Dagster's monitoring would find out, seconds later, and what the run held stayed taken.
"""

import time

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from datanika_dagster.launcher import told_ends
from datanika_dagster.launcher.host import order
from datanika_dagster.launcher.host.ground import RunStart
from datanika_dagster.launcher.host.order import RunOrder
from datanika_dagster.launcher.host.run_child import instance_of, storage_of

PAUSE_SECONDS = 2.0


def report(start: RunStart) -> int:
    """Reports a run that has not ended by its own account, and frees what it held.

    It tries until the host ends it: the database may be what the run has died of.

    Args:
        start: The run's order, and its ending in words.
    """
    told = order.read(start.order_fd)
    while True:
        try:
            with instance_of(told) as instance:
                report_end(instance, told, start.ending)
        except (SQLAlchemyError, DagsterPostgresException):
            time.sleep(PAUSE_SECONDS)
        else:
            return 0


def report_end(instance: DagsterInstance, told: RunOrder, ending: str) -> None:
    """Reports a run as its process has ended, and frees what it held, unless it is another's.

    Args:
        instance: With the run's own login.
        told: The order of the process that has ended.
        ending: How, in words.
    """
    run = instance.get_run_by_id(told.run_id)
    # Launched twice, it is executed by the process that claimed it, and holds what it holds.
    if run is None or storage_of(instance).is_claimed_by_another(told.run_id, told.claimant):
        return
    if not run.is_finished and run.status is not DagsterRunStatus.QUEUED:
        _end(instance, run, ending)
    # What it held would keep its successors waiting for minutes.
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(told.run_id)


def _end(instance: DagsterInstance, run: DagsterRun, ending: str) -> None:
    if told_ends.settle(instance, run.run_id):
        return
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"The run's process has ended: {ending}.")
    else:
        instance.report_run_failed(run, f"The run's process died: {ending}.")
