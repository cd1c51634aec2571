"""Dagster's run coordinator, which also wakes the daemon's run queue for each run that it queues.

It runs wherever runs are submitted: in the gateway, the daemon and a shell.
"""

from dagster import DagsterRun
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from datanika_dagster import run_signals
from datanika_dagster.storage import StampingRunStorage


class PromptRunCoordinator(QueuedRunCoordinator):
    """Queues runs, and says so."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Stores the run as queued, then wakes the queue."""
        run = super().submit_run(context)
        storage = self._instance.run_storage
        if isinstance(storage, StampingRunStorage):
            run_signals.send(storage)
        return run
