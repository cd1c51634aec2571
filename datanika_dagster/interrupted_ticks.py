"""Says how ticks ended that a killed daemon left as begun; a daemon of the daemon's.

Dagster goes on with a schedule's latest tick. One that a later tick stands for by then, as after minutes
without a daemon, it would show as going on for ever.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as db
from dagster import DagsterInstance, RunsFilter
from dagster._core.scheduler.instigation import InstigatorTick, TickData, TickStatus
from dagster._core.storage.tags import SCHEDULE_NAME_TAG, SCHEDULED_EXECUTION_TIME_TAG
from dagster._daemon.daemon import DaemonIterator, IntervalDaemon
from dagster._serdes import deserialize_value
from dagster_postgres.schedule_storage import PostgresScheduleStorage

REASON: Final = (
    "The platform was interrupted while it evaluated this tick; a later one stands for it."
)
_EVERY_SECONDS: Final = 10.0
_AT_ONCE: Final = 100
# Dagster's own indexes begin with a schedule, and there may be millions of ticks that have ended.
_INDEX: Final = db.text(
    "CREATE INDEX IF NOT EXISTS datanika_job_ticks_begun ON job_ticks (id) WHERE status = 'STARTED'"
)
_INTERRUPTED: Final = db.text(
    """
    SELECT begun.id, begun.tick_body FROM job_ticks AS begun
    WHERE begun.type = 'SCHEDULE' AND begun.status = 'STARTED' AND EXISTS (
        SELECT FROM job_ticks AS later
        WHERE later.selector_id = begun.selector_id AND later.timestamp > begun.timestamp)
    ORDER BY begun.id LIMIT :most
    """
)


class InterruptedTicks(IntervalDaemon[Any]):
    """Ends ticks that nobody goes on with; one of a schedule is evaluated at a time, the latest."""

    def __init__(self, interval_seconds: float = _EVERY_SECONDS) -> None:
        super().__init__(interval_seconds)
        self._is_indexed = False

    @classmethod
    def daemon_type(cls) -> str:
        """Returns the name of its heartbeat."""
        return "INTERRUPTED_TICKS"

    def run_iteration(self, workspace_process_context: Any) -> DaemonIterator:
        """Looks once."""
        instance = workspace_process_context.instance
        if not self._is_indexed and isinstance(instance.schedule_storage, PostgresScheduleStorage):
            with instance.schedule_storage.connect() as connection:
                connection.execute(_INDEX)
            self._is_indexed = True
        for tick in _interrupted(instance):
            instance.update_tick(_ended(instance, tick))
            self._logger.warning(
                "Tick %s of %s was interrupted", tick.tick_id, tick.instigator_name
            )
            yield None


def _interrupted(instance: DagsterInstance) -> Sequence[InstigatorTick]:
    storage = instance.schedule_storage
    if not isinstance(storage, PostgresScheduleStorage):
        return []
    with storage.connect() as connection:
        rows = connection.execute(_INTERRUPTED, {"most": _AT_ONCE}).fetchall()
    return [InstigatorTick(row[0], deserialize_value(row[1], TickData)) for row in rows]


def _ended(instance: DagsterInstance, tick: InstigatorTick) -> InstigatorTick:
    """Returns a tick as it ended: with its run where it had started one, skipped where it had not."""
    due_at = datetime.fromtimestamp(tick.timestamp, UTC)
    of_tick = {
        SCHEDULE_NAME_TAG: tick.instigator_name,
        SCHEDULED_EXECUTION_TIME_TAG: due_at.isoformat(),
    }
    run_ids = instance.get_run_ids(RunsFilter(tags=of_tick), limit=1)
    if run_ids:
        return tick.with_run_info(run_ids[0]).with_status(TickStatus.SUCCESS)
    return tick.with_status(TickStatus.SKIPPED).with_reason(REASON)
