"""Which queued runs start next: each org in its turn, whatever the others have queued.

The places go to the orgs that use the fewest, and among those to the one whose last turn is the longest
ago; within an org its own priorities count, then the order of the queue. Knows no limits of pools.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import sqlalchemy as db
from dagster import DagsterInstance, DagsterRun, RunsFilter
from dagster._core.storage.tags import PRIORITY_TAG
from dagster_postgres.run_storage import PostgresRunStorage

from datanika_manifest.quotas import Quota

_PAGE: Final = 10
MOST_LOOKED_AT: Final = 200
"""So many of an org's runs are looked at for one that can start."""

_LINES: Final = """
    SELECT line.*, coalesce(own.parallel_runs, other.parallel_runs) AS parallel_runs FROM (
        SELECT coalesce(owner.org, '') AS org,
               count(*) FILTER (WHERE run.status <> 'QUEUED') AS active,
               min(run.id) FILTER (WHERE run.status = 'QUEUED') AS first
        FROM public.runs AS run LEFT JOIN datanika.run_owners AS owner USING (run_id)
        WHERE run.status IN ('QUEUED', 'STARTING', 'STARTED', 'CANCELING')
        GROUP BY 1
    ) AS line
    LEFT JOIN datanika.quotas AS own ON own.org = line.org
    LEFT JOIN datanika.quotas AS other ON other.org = ''
    WHERE line.first IS NOT NULL
"""
_PLACES: Final = """
    SELECT run.run_id
    FROM public.runs AS run LEFT JOIN datanika.run_owners AS owner USING (run_id)
    LEFT JOIN public.run_tags AS wish ON wish.run_id = run.run_id AND wish.key = :priority
    WHERE run.status = 'QUEUED' AND coalesce(owner.org, '') = :org
    ORDER BY CASE WHEN wish.value ~ '^-?[0-9]{1,4}$' THEN wish.value::integer ELSE 0 END DESC, run.id
    LIMIT :limit OFFSET :offset
"""


@dataclass(frozen=True)
class Line:
    """The queued runs of an org.

    Attributes:
        org: Whose; empty for runs of nobody's.
        active: How many of its runs have a place.
        first: Where its oldest one is in the queue.
        parallel_runs: How many places it may have.
    """

    org: str
    active: int
    first: int
    parallel_runs: int


Candidates = Callable[[str], Iterator[DagsterRun]]
"""Yields an org's runs that could start, the next one first."""


class Turns:
    """Whose turn it was, as long as this process lives."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._numbers = itertools.count(1)

    def choose(
        self, lines: Iterable[Line], places: int, candidates: Candidates
    ) -> list[DagsterRun]:
        """Returns the runs that start next, in order, `places` at most."""
        waiting = [
            self._rank(line, line.active) for line in lines if line.active < line.parallel_runs
        ]
        heapq.heapify(waiting)
        of_org: dict[str, Iterator[DagsterRun]] = {}
        chosen: list[DagsterRun] = []
        while waiting and len(chosen) < places:
            active, _, _, org, line = heapq.heappop(waiting)
            if org not in of_org:
                of_org[org] = candidates(org)
            run = next(of_org[org], None)
            if run is None:
                continue
            chosen.append(run)
            self._last[org] = next(self._numbers)
            if active + 1 < line.parallel_runs:
                heapq.heappush(waiting, self._rank(line, active + 1))
        return chosen

    def _rank(self, line: Line, active: int) -> tuple[int, int, int, str, Line]:
        return active, self._last.get(line.org, 0), line.first, line.org, line


def lines_of(storage: PostgresRunStorage) -> list[Line]:
    """Returns every org that has queued runs."""
    with storage.connect() as connection:
        rows = connection.execute(db.text(_LINES)).all()
    unset = Quota().parallel_runs
    return [
        Line(
            row.org,
            row.active,
            row.first,
            unset if row.parallel_runs is None else row.parallel_runs,
        )
        for row in rows
    ]


def pages_of(
    instance: DagsterInstance, storage: PostgresRunStorage, org: str
) -> Iterator[list[DagsterRun]]:
    """Yields an org's queued runs, the next one first, a few at a time."""
    for offset in range(0, MOST_LOOKED_AT, _PAGE):
        values = {"org": org, "priority": PRIORITY_TAG, "limit": _PAGE, "offset": offset}
        with storage.connect() as connection:
            run_ids = list(connection.execute(db.text(_PLACES), values).scalars())
        if run_ids:
            found = {run.run_id: run for run in instance.get_runs(RunsFilter(run_ids=run_ids))}
            yield [found[run_id] for run_id in run_ids if run_id in found]
        if len(run_ids) < _PAGE:
            return
