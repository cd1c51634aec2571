"""Run storage that says whose each run is.

Every process that writes runs (webserver, daemon, run, shell) uses this class by `dagster.yaml`.
The tag `datanika/org` comes from the code location a run originates from, never from the caller:
who can launch a run can also set tags. What row-level security goes by is a table beside the tags,
written in the same transaction as the run (`row_security/`).
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Self

import sqlalchemy as db
from dagster import DagsterEvent, DagsterEventType, DagsterRun
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.runs.schema import (
    BackfillTagsTable,
    BulkActionsTable,
    RunsTable,
    RunTagsTable,
)
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG, RUN_FAILURE_REASON_TAG
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster._time import datetime_from_timestamp, get_current_datetime
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError

from datanika_dagster import quotas, run_origins, run_progress, run_signals, run_tags
from datanika_dagster.errors import RunRefused
from datanika_dagster.row_security.owners import (
    BACKFILLS_OF,
    OWN_BACKFILL,
    OWN_RUN,
    OWN_SNAPSHOT,
    OWNER_TABLES,
    RUNS_OF,
)
from datanika_dagster.row_security.quota_tables import QUOTA_TABLES
from datanika_manifest.run_records import LAUNCH_TAG, ORG_TAG


class StampingRunStorage(PostgresRunStorage):
    """PostgreSQL run storage that stamps the org and checks lineage."""

    _has_stats_columns = False
    _has_backfill_column = False
    _was_lost = False

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Makes the storage that `dagster.yaml` describes."""
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),  # type: ignore[arg-type]
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
        )

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Stores a run under the org of its code location.

        Raises:
            RunRefused: It claims a parent or root run of another org.
            QuotaExceeded: The org has started as many runs within the hour as it may.
            DagsterRunAlreadyExists: There is a run of that id.
        """
        org = run_origins.org_of_run(dagster_run)
        self._check_lineage(dagster_run, org)
        tags = run_tags.of_new_run(dagster_run, org)
        self._drop_foreign_backfills(tags, org)
        if self._is_inherited(LAUNCH_TAG, dagster_run):
            # A retry is given its parent's tags, and is not what that request launched.
            del tags[LAUNCH_TAG]
        stamped = dagster_run.with_tags(tags)
        self._insert(stamped, org)
        return stamped

    def add_historical_run(self, dagster_run: DagsterRun, run_creation_time: Any) -> DagsterRun:
        """Refuses: nothing here imports runs, and they would not be stamped.

        Raises:
            RunRefused: Always.
        """
        raise RunRefused("Runs cannot be imported.")

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Adds tags to a run; the org stays what it is."""
        super().add_run_tags(
            run_id, {name: value for name, value in new_tags.items() if name != ORG_TAG}
        )

    def handle_run_event(
        self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None
    ) -> None:
        """Stores a run's new status, if it may still have it.

        Where it is an end, a place in the queue has become free. Of several ends the first counts.
        """
        if event.event_type not in run_progress.NOT_AFTER:
            super().handle_run_event(run_id, event, update_timestamp)
            return
        if self._was_lost and event.event_type is DagsterEventType.RUN_FAILURE:
            self._mark_as_lost(run_id)
        self._go_on(run_id, event, update_timestamp or get_current_datetime())
        if event.event_type in run_progress.ENDINGS:
            run_signals.send(self)

    def note_loss(self, error: ExceptionContext) -> None:
        """Remembers that the server went away under the one run of this process.

        Args:
            error: Of any of the process's connections to Dagster's storage (the event
                `handle_error` of SQLAlchemy). One without a SQLSTATE is of the connection itself.
        """
        has_state = getattr(error.original_exception, "pgcode", None)
        self._was_lost |= error.is_disconnect or not has_state

    def _mark_as_lost(self, run_id: str) -> None:
        """Lets a run that fails be done again: a step whose events cannot be stored fails of that alone."""
        run = self._get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self.add_run_tags(run_id, {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"})

    def claim(self, run_id: str, claimant: str) -> bool:
        """Makes this process the one that executes a run that is starting.

        Args:
            run_id: The run.
            claimant: Names this process and no other.

        Returns:
            False where it is not starting any more, or another process has done so before.
        """
        values = {"run_id": run_id, "claimant": claimant}
        with self.connect() as connection:
            return bool(connection.execute(db.text(run_progress.CLAIM), values).rowcount)

    def is_claimed(self, run_id: str) -> bool:
        """Tells whether some process has begun to execute a run."""
        with self.connect() as connection:
            found = connection.execute(db.text(run_progress.IS_CLAIMED), {"run_id": run_id})
            return found.first() is not None

    def is_claimed_by_another(self, run_id: str, claimant: str) -> bool:
        """Tells whether another process than the named one has begun to execute a run."""
        values = {"run_id": run_id, "claimant": claimant}
        with self.connect() as connection:
            found = connection.execute(db.text(run_progress.IS_CLAIMED_BY_ANOTHER), values)
            return found.first() is not None

    def owned(self, question: str, ids: Collection[str], org: str | None) -> set[str]:
        """Returns which of the ids are an org's.

        Args:
            question: One of those in `row_security/owners.py`.
            ids: Of runs, backfills or snapshots.
            org: Its slug; None has nothing.
        """
        if org is None:
            return set()
        with self.connect() as connection:
            values = {"ids": sorted(ids), "org": org}
            return {row[0] for row in connection.execute(db.text(question), values)}

    def has_run_stats_index_cols(self) -> bool:
        """Tells whether these columns are there; they stay, and each question reads the catalogue."""
        if not self._has_stats_columns:
            self._has_stats_columns = super().has_run_stats_index_cols()
        return self._has_stats_columns

    def has_backfill_id_column(self) -> bool:
        """Tells whether this column is there; it stays, and each question reads the catalogue."""
        if not self._has_backfill_column:
            self._has_backfill_column = super().has_backfill_id_column()
        return self._has_backfill_column

    def add_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Stores a backfill under the org of its code location or of all its assets."""
        org = run_origins.org_of_backfill(partition_backfill)
        tags = run_tags.known(partition_backfill.tags, org)
        self._drop_foreign_backfills(tags, org)
        self._insert_backfill(partition_backfill._replace(tags=tags), org)

    def _init_db(self) -> None:
        """Makes Dagster's tables and ours beside them."""
        super()._init_db()
        with self.connect() as connection:
            for statement in (*OWNER_TABLES, *QUOTA_TABLES):
                connection.execute(db.text(statement))

    def _go_on(self, run_id: str, event: DagsterEvent, at: datetime) -> None:
        """As `SqlRunStorage.handle_run_event` (dagster 1.13.27), but only from where it may.

        One transaction: who reads the new status sees the tag, too, and what did not come to be has
        written none.
        """
        values: dict[str, Any] = {"update_timestamp": at}
        if self.has_run_stats_index_cols():
            if event.event_type is DagsterEventType.RUN_START:
                values["start_time"] = at.timestamp()
            elif event.event_type in run_progress.ENDINGS:
                values["end_time"] = at.timestamp()
        with self.connect() as shared:
            connection = shared.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                run = run_progress.changed(connection, run_id, event, self._row_to_run)
                if run is None:
                    return
                reason = run_progress.failure_reason(event)
                if reason:
                    _put_tag(connection, run_id, RUN_FAILURE_REASON_TAG, reason)
                values |= {"run_body": serialize_value(run), "status": run.status.value}
                of_run = RunsTable.c.run_id == run_id
                connection.execute(RunsTable.update().where(of_run).values(**values))
                connection.execute(db.text(run_signals.TELL_CHANGE))

    def _insert(self, run: DagsterRun, org: str | None) -> None:
        """Stores a run, its tags and its owner, or none of them.

        As `SqlRunStorage._core_add_run` (dagster 1.13.27), which commits after each statement: an
        org's login must never miss a run of its own, nor see one that is nobody's yet.
        """
        values = self._get_run_insertion_values(run, get_current_datetime())
        tags = run.tags_for_storage()
        snapshots = {id_ for id_ in (run.job_snapshot_id, run.execution_plan_snapshot_id) if id_}
        with self.connect() as shared:
            connection = shared.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                if org:
                    quotas.take(connection, org)
                try:
                    inserted = connection.execute(RunsTable.insert().values(**values))
                except IntegrityError as error:
                    raise DagsterRunAlreadyExists from error
                if tags:
                    rows = [{"run_id": run.run_id, "key": k, "value": v} for k, v in tags.items()]
                    connection.execute(RunTagsTable.insert(), rows)
                if org:
                    (storage_id,) = inserted.inserted_primary_key or (None,)
                    owned = {"run_id": run.run_id, "org": org, "storage_id": storage_id}
                    connection.execute(db.text(OWN_RUN), owned)
                    for snapshot_id in sorted(snapshots):
                        owned = {"snapshot_id": snapshot_id, "org": org}
                        connection.execute(db.text(OWN_SNAPSHOT), owned)
                connection.execute(db.text(run_signals.TELL_CHANGE))

    def _insert_backfill(self, backfill: PartitionBackfill, org: str | None) -> None:
        """Stores a backfill, its tags and its owner, or none of them.

        As `SqlRunStorage.add_backfill` (dagster 1.13.27), which commits after each statement.
        """
        values = {
            "key": backfill.backfill_id,
            "status": backfill.status.value,
            "timestamp": datetime_from_timestamp(backfill.backfill_timestamp),
            "body": serialize_value(backfill),
            "selector_id": backfill.selector_id,
            "action_type": backfill.bulk_action_type.value,
            "job_name": backfill.job_name,
        }
        tags = [
            {"backfill_id": backfill.backfill_id, "key": key, "value": value}
            for key, value in backfill.tags.items()
        ]
        with self.connect() as shared:
            connection = shared.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                inserted = connection.execute(BulkActionsTable.insert().values(**values))
                if tags:
                    connection.execute(BackfillTagsTable.insert(), tags)
                if org:
                    (storage_id,) = inserted.inserted_primary_key or (None,)
                    owned = {"backfill_id": backfill.backfill_id, "org": org}
                    connection.execute(db.text(OWN_BACKFILL), owned | {"storage_id": storage_id})

    def _drop_foreign_backfills(self, tags: dict[str, str], org: str | None) -> None:
        for name in run_tags.BACKFILL_TAGS:
            if name in tags and not self.owned(BACKFILLS_OF, {tags[name]}, org):
                del tags[name]

    def _is_inherited(self, tag: str, run: DagsterRun) -> bool:
        """Tells whether a run has a tag from its parent, and no other of that name of its own."""
        if not run.parent_run_id or tag not in run.tags:
            return False
        parent = self._get_run_by_id(run.parent_run_id)
        return parent is not None and parent.tags.get(tag) == run.tags[tag]

    def _check_lineage(self, run: DagsterRun, org: str | None) -> None:
        ancestors = {run_id for run_id in (run.parent_run_id, run.root_run_id) if run_id}
        if ancestors and self.owned(RUNS_OF, ancestors, org) != ancestors:
            raise RunRefused("The parent or root run is not one of this organization's runs.")


def _put_tag(connection: db.Connection, run_id: str, key: str, value: str) -> None:
    of_tag = db.and_(RunTagsTable.c.run_id == run_id, RunTagsTable.c.key == key)
    if not connection.execute(RunTagsTable.update().where(of_tag).values(value=value)).rowcount:
        connection.execute(RunTagsTable.insert().values(run_id=run_id, key=key, value=value))
