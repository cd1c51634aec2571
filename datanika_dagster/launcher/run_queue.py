"""Dagster's run queue, but nothing leaves it while the platform is sealed.

A run that was started then could get no credentials. It stays queued instead, keeps its place, uses up
none of its attempts and says once in its own log what it waits for
(docs/decisions/0076-runs-wait-while-sealed.md).
"""

from collections.abc import Iterator
from typing import Any

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.events import EngineEventData
from dagster._daemon.daemon import DaemonIterator
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from datanika_dagster.launcher.seal_knowledge import Seal, SealKnowledge, ask_control_plane
from datanika_manifest.run_records import WAITS_FOR_UNLOCK


class SealedRunQueue(QueuedRunCoordinatorDaemon):
    """Starts queued runs, as the stock daemon does, but only while the platform is unsealed.

    Args:
        interval_seconds: How often it looks at the queue.
        seal: What is known of the seal.
    """

    def __init__(self, interval_seconds: float, seal: SealKnowledge | None = None) -> None:
        super().__init__(interval_seconds)
        self._seal = seal or SealKnowledge(ask_control_plane)
        self._was = Seal.UNKNOWN
        self._had_failure = False
        self._told: set[str] = set()

    def run_iteration(
        self, workspace_process_context: Any, fixed_iteration_time: float | None = None
    ) -> DaemonIterator:
        """Looks at the queue once."""
        now = self._seal.look()
        self._log_change(now)
        if now is Seal.UNSEALED:
            self._told.clear()
            yield from super().run_iteration(workspace_process_context, fixed_iteration_time)
        elif now is Seal.SEALED:
            yield from self._tell_waiting_runs(workspace_process_context.instance)

    def _log_change(self, now: Seal) -> None:
        self._log_failure()
        was, self._was = self._was, now
        if now is was:
            return
        if now is Seal.SEALED:
            self._logger.info("The platform is sealed: queued runs wait.")
        elif was is Seal.SEALED:
            self._logger.info("The platform is unsealed: queued runs start.")

    def _log_failure(self) -> None:
        """Says when nobody answers: a queue that stands still must not do so in silence."""
        failure, had_failure = self._seal.failure, self._had_failure
        self._had_failure = failure is not None
        if failure is not None and not had_failure:
            self._logger.warning("Nobody says whether the platform is sealed: %s", failure)
        elif failure is None and had_failure:
            self._logger.info("The control plane says again whether the platform is sealed.")

    def _tell_waiting_runs(self, instance: DagsterInstance) -> Iterator[None]:
        for run in _queued_runs(instance, self._page_size):
            if run.run_id not in self._told:
                self._told.add(run.run_id)
                if not _was_told(instance, run):
                    data = EngineEventData(metadata={"waiting_for": "unlock"})
                    instance.report_engine_event(WAITS_FOR_UNLOCK, run, data)
            yield None


def _queued_runs(instance: DagsterInstance, page_size: int) -> Iterator[DagsterRun]:
    waiting = RunsFilter(statuses=[DagsterRunStatus.QUEUED])
    cursor = None
    while page := instance.get_runs(waiting, cursor=cursor, limit=page_size, ascending=True):
        yield from page
        cursor = page[-1].run_id


def _was_told(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Returns whether the run's log says it already, as after a restart of the daemon."""
    told = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
    events = (record.event_log_entry.dagster_event for record in told.records)
    return any(event is not None and event.message == WAITS_FOR_UNLOCK for event in events)
