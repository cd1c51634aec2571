"""Dagster's own questions for runs and backfills, each joined with the table that says whose they are.

The join is by Dagster's running number, which the owner tables repeat in an index behind the org: the
newest of one org are a stretch of that index, however many runs the others have
(docs/decisions/0148-an-orgs-runs-are-a-stretch-of-an-index.md).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import sqlalchemy as db
from dagster import RunsFilter
from dagster._core.execution.backfill import BulkActionsFilter
from dagster._core.storage.runs.schema import BulkActionsTable, RunsTable, RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from sqlalchemy.sql import visitors

from datanika_dagster.gateway.scoped.boundary import OrgBoundary
from datanika_dagster.storage import StampingRunStorage

RUN_OWNERS: Final = db.table(
    "run_owners",
    *(db.column("run_id"), db.column("org"), db.column("storage_id")),
    schema="datanika",
)
BACKFILL_OWNERS: Final = db.table(
    "backfill_owners",
    *(db.column("backfill_id"), db.column("org"), db.column("storage_id")),
    schema="datanika",
)


class OwnedQueries(SqlRunStorage):
    """Reads an org's runs and backfills, and cannot read others.

    Only what asks by Dagster's `_runs_query` and `_backfills_query` works; every question that is not
    joined with an owner table is refused before it is sent.

    Args:
        storage: Its connections are used.
        org: The org's slug.
    """

    def __init__(self, storage: StampingRunStorage, org: str) -> None:
        super().__init__()
        self._storage = storage
        self._org = org

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """Opens a connection."""
        with self._storage.connect() as connection:
            yield connection

    def upgrade(self) -> None:
        """Refuses.

        Raises:
            OrgBoundary: Always.
        """
        raise OrgBoundary("upgrade")

    def has_built_index(self, migration_name: str) -> bool:
        """Tells whether one of Dagster's data migrations has run."""
        return self._storage.has_built_index(migration_name)

    def has_run_stats_index_cols(self) -> bool:
        """Tells whether the times of runs have columns."""
        return self._storage.has_run_stats_index_cols()

    def fetchall(self, query: Any) -> Sequence[Any]:
        """Asks for rows of the org's."""
        return super().fetchall(_joined(query))

    def fetchone(self, query: Any) -> Any | None:
        """Asks for a row of the org's."""
        return super().fetchone(_joined(query))

    def get_backfills_count(self, filters: BulkActionsFilter | None = None) -> int:
        """Counts backfills where they are: Dagster's own loads every one for a filter by tag."""
        table = self._add_backfill_filters_to_table(BulkActionsTable, filters)
        found = self._backfills_query(filters).select_from(table).subquery()
        row = self.fetchone(db.select(db.func.count().label("count")).select_from(found))
        return row["count"] if row else 0

    def get_run_tag_keys(self) -> Sequence[str]:
        """Returns the names of the tags of the org's runs."""
        query = db.select(RunTagsTable.c.key).distinct().select_from(self._own_tags())
        return [row["key"] for row in self.fetchall(query.order_by(RunTagsTable.c.key))]

    def get_run_tags(
        self, tag_keys: Sequence[str], value_prefix: str | None = None, limit: int | None = None
    ) -> Sequence[tuple[str, set[str]]]:
        """Returns the values of tags of the org's runs."""
        query = (
            db.select(RunTagsTable.c.key, RunTagsTable.c.value)
            .distinct()
            .select_from(self._own_tags())
            .where(RunTagsTable.c.key.in_(tag_keys))
            .order_by(RunTagsTable.c.key, RunTagsTable.c.value)
        )
        if value_prefix:
            query = query.where(RunTagsTable.c.value.startswith(value_prefix, autoescape=True))
        values: dict[str, set[str]] = defaultdict(set)
        for row in self.fetchall(query.limit(limit) if limit else query):
            values[row["key"]].add(row["value"])
        return sorted(values.items())

    def _own_tags(self) -> Any:
        own = db.and_(RUN_OWNERS.c.run_id == RunTagsTable.c.run_id, RUN_OWNERS.c.org == self._org)
        return RunTagsTable.join(RUN_OWNERS, own)

    def _add_filters_to_table(self, table: Any, filters: RunsFilter) -> Any:
        own = db.and_(RUN_OWNERS.c.storage_id == RunsTable.c.id, RUN_OWNERS.c.org == self._org)
        return super()._add_filters_to_table(table.join(RUN_OWNERS, own), filters)

    def _add_backfill_filters_to_table(self, table: Any, filters: Any) -> Any:
        own = db.and_(
            BACKFILL_OWNERS.c.storage_id == BulkActionsTable.c.id,
            BACKFILL_OWNERS.c.org == self._org,
        )
        return super()._add_backfill_filters_to_table(table.join(BACKFILL_OWNERS, own), filters)

    def _add_cursor_limit_to_backfills_query(
        self, query: Any, cursor: str | None = None, limit: int | None = None
    ) -> Any:
        """As Dagster's, whose comparison SQLAlchemy warns of."""
        if cursor:
            known = db.select(BulkActionsTable.c.id).where(BulkActionsTable.c.key == cursor)
            query = query.where(BulkActionsTable.c.id < known.scalar_subquery())
        return query.limit(limit) if limit else query


def _joined(query: Any) -> Any:
    """Returns a question that asks an owner table, too.

    Raises:
        OrgBoundary: It does not: a Dagster of another version asks in another way.
    """
    parts = cast("Iterator[object]", visitors.iterate(query))
    if not any(part is RUN_OWNERS or part is BACKFILL_OWNERS for part in parts):
        raise OrgBoundary("a question without an owner")
    return query
