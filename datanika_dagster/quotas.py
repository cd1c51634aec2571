"""How many runs an org has started within the hour, and how many it may: counted where runs are stored.

Whoever starts a run stores it, be it a schedule, a person or a machine. So the count is exact, and no
deleted run makes it smaller. Orgs' logins read their own rows and write none
(docs/decisions/0152-quotas-are-kept-where-runs-are-stored.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import sqlalchemy as db
from dagster_postgres.run_storage import PostgresRunStorage

from datanika_dagster.errors import QuotaExceeded
from datanika_manifest import quotas
from datanika_manifest.quotas import Quotas

# Held until the run is stored: two that are launched at once must not both be the last. A row, since
# nobody in Dagster's database but its superuser may use advisory locks.
_LOCK: Final = (
    "INSERT INTO datanika.launch_turns (org) VALUES (:org)"
    " ON CONFLICT (org) DO UPDATE SET org = excluded.org"
)
_FORGET: Final = (
    "DELETE FROM datanika.launches"
    " WHERE org = :org AND launched_at <= clock_timestamp() - interval '1 hour'"
)
_COUNT: Final = "INSERT INTO datanika.launches (org) VALUES (:org)"
# The next may start an hour after the one that is now the n-th from the end.
_NEXT: Final = """
    SELECT quota.runs_per_hour, clock_timestamp() AS now, (
        SELECT launched_at + interval '1 hour' FROM datanika.launches
        WHERE org = :org AND launched_at > clock_timestamp() - interval '1 hour'
        ORDER BY launched_at DESC OFFSET greatest(quota.runs_per_hour - 1, 0) LIMIT 1
    ) AS next_at
    FROM datanika.quotas AS quota
    WHERE quota.org IN (:org, '') ORDER BY quota.org DESC LIMIT 1
"""
_is_exempt: ContextVar[bool] = ContextVar("is_exempt", default=False)


@contextmanager
def without_limit() -> Iterator[None]:
    """Refuses nothing in this block: what is stored in it was started, and counted, before."""
    token = _is_exempt.set(True)
    try:
        yield
    finally:
        _is_exempt.reset(token)


def take(connection: db.Connection, org: str) -> None:
    """Counts a run that starts, in the transaction that stores it.

    Raises:
        QuotaExceeded: The org has started as many as it may.
    """
    connection.execute(db.text(_LOCK), {"org": org})
    connection.execute(db.text(_FORGET), {"org": org})
    reason = None if _is_exempt.get() else _refusal(connection, org)
    if reason is not None:
        raise QuotaExceeded(reason)
    connection.execute(db.text(_COUNT), {"org": org})


def refusal(storage: PostgresRunStorage, org: str) -> str | None:
    """Returns why an org may start no run now; None where it may."""
    with storage.connect() as connection:
        return _refusal(connection, org)


def keep(storage: PostgresRunStorage, wanted: Quotas) -> None:
    """Writes down what orgs may run; what is not wanted any more goes."""
    rows = [
        {"org": org, **quota.model_dump()}
        for org, quota in {"": wanted.default, **wanted.orgs}.items()
    ]
    with storage.connect() as shared:
        connection = shared.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            connection.execute(
                db.text("DELETE FROM datanika.quotas WHERE org <> ALL (:kept)"),
                {"kept": [row["org"] for row in rows]},
            )
            connection.execute(
                db.text(
                    "INSERT INTO datanika.quotas (org, parallel_runs, runs_per_hour)"
                    " VALUES (:org, :parallel_runs, :runs_per_hour) ON CONFLICT (org) DO UPDATE"
                    " SET parallel_runs = excluded.parallel_runs,"
                    " runs_per_hour = excluded.runs_per_hour"
                ),
                rows,
            )


def _refusal(connection: db.Connection, org: str) -> str | None:
    row: Any = connection.execute(db.text(_NEXT), {"org": org}).first()
    if row is None or row.runs_per_hour is None:
        return None
    if row.runs_per_hour == 0:
        return quotas.refusal(0, None, row.now)
    return row.next_at and quotas.refusal(row.runs_per_hour, row.next_at, row.now)
