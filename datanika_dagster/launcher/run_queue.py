"""Dagster's run queue, but it looks at once, and nothing leaves it while the platform is sealed.

A run that was started then could get no credentials. It stays queued instead, keeps its place, uses up
none of its attempts and says once in its own log what it waits for
(docs/decisions/0076-runs-wait-while-sealed.md). A launch holds up no other
(docs/decisions/0110-the-queue-is-told.md). Orgs take turns
(docs/decisions/0153-orgs-take-turns.md).
"""

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.events import EngineEventData
from dagster._core.instance.config import ConcurrencyConfig
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig
from dagster._core.storage.dagster_run import RunRecord
from dagster._daemon.daemon import DaemonIterator
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from datanika_dagster.launcher import fair_turns, quota_knowledge, stranded_runs
from datanika_dagster.launcher.fair_turns import Turns
from datanika_dagster.launcher.launches import Launches
from datanika_dagster.launcher.pool_room import PoolRoom
from datanika_dagster.launcher.quota_knowledge import QuotaKnowledge
from datanika_dagster.launcher.seal_knowledge import Seal, SealKnowledge, ask_control_plane
from datanika_dagster.launcher.signalled_daemon import SignalledDaemon
from datanika_dagster.storage import StampingRunStorage
from datanika_manifest.names import location_name
from datanika_manifest.run_records import WAITS_FOR_UNLOCK

STRANDED_SECONDS = 5.0


class SealedRunQueue(SignalledDaemon, QueuedRunCoordinatorDaemon):
    """Starts queued runs, as the stock daemon does, but only while the platform is unsealed.

    Args:
        interval_seconds: How often it looks at the queue when nobody tells it to.
        seal: What is known of the seal.
    """

    def __init__(self, interval_seconds: float, seal: SealKnowledge | None = None) -> None:
        super().__init__(interval_seconds)
        self._seal = seal or SealKnowledge(ask_control_plane)
        self._was = Seal.UNKNOWN
        self._had_failure = False
        self._told: set[str] = set()
        self._launches = Launches()
        self._next_recovery = 0.0
        self._turns = Turns()
        self._quotas = QuotaKnowledge(quota_knowledge.ask_control_plane)

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
        storage = workspace_process_context.instance.run_storage
        if isinstance(storage, StampingRunStorage):
            self._quotas.look(storage)

    def _dequeue_runs_iter_threaded(
        self,
        workspace_process_context: Any,
        runs_to_dequeue: list[DagsterRun],
        max_workers: int | None,
        concurrency_config: ConcurrencyConfig,
        fixed_iteration_time: float | None,
    ) -> Iterator[None]:
        def dequeue(run: DagsterRun, instance: DagsterInstance) -> bool:
            workspace = workspace_process_context.create_request_context()
            return self._dequeue_run(
                instance, workspace, run, concurrency_config, fixed_iteration_time
            )

        yield from self._launches.start(
            self._get_executor(max_workers),
            workspace_process_context.instance,
            {run.run_id: partial(dequeue, run) for run in runs_to_dequeue},
        )

    def _get_runs_to_dequeue(
        self,
        instance: DagsterInstance,
        concurrency_config: ConcurrencyConfig,
        fixed_iteration_time: float | None,
    ) -> list[DagsterRun]:
        storage, queue = instance.run_storage, concurrency_config.run_queue_config
        if not isinstance(storage, StampingRunStorage) or queue is None:
            return super()._get_runs_to_dequeue(instance, concurrency_config, fixed_iteration_time)
        active = self._get_in_progress_run_records(instance)
        most = self._quotas.parallel_runs
        places = (_most(queue) if most is None else most) - len(active)
        if places <= 0:
            return []
        room = PoolRoom(instance, concurrency_config, active)
        now = fixed_iteration_time or time.time()
        lines = [
            line
            for line in fair_turns.lines_of(storage)
            if not self._is_location_pausing_dequeues(location_name(line.org), now)
        ]

        def candidates(org: str) -> Iterator[DagsterRun]:
            return room.startable(fair_turns.pages_of(instance, storage, org))

        return self._turns.choose(lines, places, candidates)

    def _get_in_progress_run_records(self, instance: DagsterInstance) -> Sequence[RunRecord]:
        records = super()._get_in_progress_run_records(instance)
        if time.monotonic() < self._next_recovery:
            return records
        self._next_recovery = time.monotonic() + STRANDED_SECONDS
        for run in (record.dagster_run for record in records):
            is_starting = run.status is DagsterRunStatus.STARTING
            if is_starting and not self._launches.is_under_way(run.run_id):
                stranded_runs.recover(instance, run)
        stranded_runs.enqueue_unsubmitted(instance)
        return records

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


def _most(queue: RunQueueConfig) -> int:
    """Returns how many runs may have a place; Dagster's -1 means any number."""
    return queue.max_concurrent_runs if queue.max_concurrent_runs >= 0 else sys.maxsize


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
