"""How long runs and their events are kept in Dagster's storage, which keeps them for ever by itself.

Orgs take turns, a few runs at a time, and a pass does so much and no more: neither an org with many runs
nor a run with many events makes the others wait. What runs have made of assets stays, as events of the
assets alone: freshness, partitions and checks go by it. The output of runs has a rule of its own
(`launcher/host/log_retention.py`).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as db
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._daemon.daemon import DaemonIterator, IntervalDaemon

from datanika_dagster import settings
from datanika_dagster.storage import StampingRunStorage

_DAY_SECONDS: Final = 24 * 3600.0
_PASS_EVERY_SECONDS: Final = 600.0
_RUNS_AT_ONCE: Final = 50
# Of the oldest runs of an org so many are looked at: one that never ends keeps few behind it.
_LOOKED_AT: Final = 1000
_EVENTS_AT_ONCE: Final = 10_000

# As many look-ups in the index as there are orgs, however many runs these have.
_ORGS: Final = """
    WITH RECURSIVE orgs AS (
        (SELECT org FROM datanika.run_owners ORDER BY org LIMIT 1)
        UNION ALL
        SELECT (SELECT org FROM datanika.run_owners AS next WHERE next.org > orgs.org
                ORDER BY org LIMIT 1) FROM orgs WHERE orgs.org IS NOT NULL
    ) SELECT org FROM orgs WHERE org IS NOT NULL
"""
_OLD_RUNS: Final = """
    SELECT run.run_id FROM (
        SELECT storage_id FROM datanika.run_owners WHERE org = :org
        ORDER BY storage_id LIMIT :looked_at
    ) AS oldest JOIN public.runs AS run ON run.id = oldest.storage_id
    WHERE run.status = ANY (:ended)
        AND coalesce(run.end_time, extract(epoch FROM run.update_timestamp)) < :before
    ORDER BY run.id LIMIT :most
"""
_SOME_EVENTS: Final = """
    DELETE FROM public.event_logs WHERE id IN (
        SELECT id FROM public.event_logs WHERE run_id = :run_id AND asset_key IS NULL
        ORDER BY id LIMIT :most
    )
"""
# Row-level security shows an event without a run to its asset's org.
_EVENTS_OF_ASSETS: Final = (
    "UPDATE public.event_logs SET run_id = '' WHERE run_id = :run_id AND asset_key IS NOT NULL"
)
# Its tags, owner and claim go with it.
_RUN: Final = "DELETE FROM public.runs WHERE run_id = :run_id AND status = ANY (:ended)"


@dataclass(frozen=True)
class Bounds:
    """What one pass does at most.

    Attributes:
        runs: So many runs are removed, of all orgs together.
        events: When so many events are removed, the pass is over.
    """

    runs: int = 2_000
    events: int = 200_000


@dataclass
class Pruned:
    """What a pass has removed."""

    runs: int = 0
    events: int = 0


def prune(
    storage: StampingRunStorage, ended_before: float, bounds: Bounds | None = None
) -> Iterator[Pruned]:
    """Removes runs that ended long ago, and yields after each what has been removed up to now.

    Killed at any moment it leaves a run with fewer events at worst, and the next pass goes on there.

    Args:
        storage: As the owner of the tables.
        ended_before: In seconds since the epoch.
        bounds: Of this pass.
    """
    bounds = bounds or Bounds()
    done = Pruned()
    waiting = [row[0] for row in _ask(storage, _ORGS)]
    while waiting:
        for org in list(waiting):
            run_ids = _old_runs(storage, org, ended_before)
            if len(run_ids) < _RUNS_AT_ONCE:
                waiting.remove(org)
            for run_id in run_ids:
                if done.runs >= bounds.runs or done.events >= bounds.events:
                    return
                _remove(storage, run_id, done, bounds)
                yield done


class RunRetention(IntervalDaemon[Any]):
    """Removes old runs, every ten minutes; knows no org and no run that goes on."""

    def __init__(self, interval_seconds: float = _PASS_EVERY_SECONDS) -> None:
        super().__init__(interval_seconds)

    @classmethod
    def daemon_type(cls) -> str:
        """Returns the name of its heartbeat."""
        return "RUN_RETENTION"

    def run_iteration(self, workspace_process_context: Any) -> DaemonIterator:
        """Makes one pass."""
        storage, days = workspace_process_context.instance.run_storage, settings.read().run_days
        if not days or not isinstance(storage, StampingRunStorage):
            return
        done = Pruned()
        for so_far in prune(storage, time.time() - days * _DAY_SECONDS):
            done = so_far
            yield None
        if done.runs:
            self._logger.info("Removed %s old runs, %s of their events", done.runs, done.events)


def _old_runs(storage: StampingRunStorage, org: str, before: float) -> Sequence[str]:
    rows = _ask(
        storage, _OLD_RUNS, org=org, before=before, ended=_ended(), most=_RUNS_AT_ONCE,
        looked_at=_LOOKED_AT,
    )  # fmt: skip
    return [row[0] for row in rows]


def _remove(storage: StampingRunStorage, run_id: str, done: Pruned, bounds: Bounds) -> None:
    with storage.connect() as connection:
        # Each by itself: a run may have a million, and nobody waits for a lock on them.
        while done.events < bounds.events:
            values = {"run_id": run_id, "most": _EVENTS_AT_ONCE}
            removed = connection.execute(db.text(_SOME_EVENTS), values).rowcount
            done.events += removed
            if removed < _EVENTS_AT_ONCE:
                break
        else:
            return
    with storage.connect() as shared:
        connection = shared.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            connection.execute(db.text(_EVENTS_OF_ASSETS), {"run_id": run_id})
            values = {"run_id": run_id, "ended": _ended()}
            done.runs += connection.execute(db.text(_RUN), values).rowcount


def _ask(storage: StampingRunStorage, question: str, **values: Any) -> Sequence[Any]:
    with storage.connect() as connection:
        return connection.execute(db.text(question), values).fetchall()


def _ended() -> list[str]:
    return sorted(status.value for status in FINISHED_STATUSES)
