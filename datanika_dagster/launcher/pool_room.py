"""Which queued runs would only wait: the pools of their first steps are taken. As Dagster's queue counts."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from dagster import DagsterInstance, DagsterRun
from dagster._core.instance.config import ConcurrencyConfig
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.event_log.base import PoolLimit


class PoolRoom:
    """What is free while the queue looks once.

    Args:
        instance: Whose pools.
        config: How pools are counted.
        active: The runs that have a place.
    """

    def __init__(
        self, instance: DagsterInstance, config: ConcurrencyConfig, active: Sequence[RunRecord]
    ) -> None:
        self._instance = instance
        self._config = config
        self._active = active

    def startable(self, pages: Iterable[list[DagsterRun]]) -> Iterator[DagsterRun]:
        """Yields the runs whose pools have room beside those that were yielded before.

        Args:
            pages: The queued runs of one org; no pool is another's, too.
        """
        yielded: list[DagsterRun] = []
        for page in pages:
            counter = self._counter(page)
            for run in yielded:
                counter.update_counters_with_launched_item(run)
            for run in page:
                if not counter.is_blocked(run):
                    counter.update_counters_with_launched_item(run)
                    yielded.append(run)
                    yield run

    def _counter(self, runs: list[DagsterRun]) -> GlobalOpConcurrencyLimitsCounter:
        queue = self._config.run_queue_config
        return GlobalOpConcurrencyLimitsCounter(
            self._instance,
            runs,
            self._active,
            concurrency_keys=self._pools,
            pool_limits=self._limits,
            slot_count_offset=queue.op_concurrency_slot_buffer if queue else 0,
            pool_granularity=self._config.pool_config.pool_granularity,
        )

    @cached_property
    def _pools(self) -> set[str]:
        return self._instance.event_log_storage.get_concurrency_keys()

    @cached_property
    def _limits(self) -> Sequence[PoolLimit]:
        return self._instance.event_log_storage.get_pool_limits()
