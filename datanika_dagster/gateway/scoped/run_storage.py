"""Runs, backfills and snapshots, as an org may see and store them."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from dagster import DagsterEvent, DagsterEventType, DagsterRun, RunsFilter
from dagster._core.errors import DagsterRunNotFoundError
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.snap import ExecutionPlanSnapshot, JobSnap
from dagster._core.storage.dagster_run import JobBucket, RunPartitionData, RunRecord, TagBucket
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.tags import CODE_LOCATION_TAG, USER_TAG
from dagster._daemon.types import DaemonHeartbeat
from typing_extensions import override

from datanika_dagster import run_origins, run_tags
from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped.boundary import ConfigRefused, NotEnded, OrgBoundary
from datanika_dagster.gateway.scoped.owned_queries import OwnedQueries
from datanika_dagster.gateway.scoped.ownership import Ownership
from datanika_dagster.gateway.scoped.policy import Facade, facade
from datanika_dagster.gateway.scoped.run_policies import POLICIES
from datanika_dagster.storage import StampingRunStorage
from datanika_manifest.run_records import LAUNCH_TAG

Bucket = JobBucket | TagBucket | None

_RUN_MAY_BECOME: Final = frozenset(
    {
        DagsterEventType.RUN_CANCELING,
        DagsterEventType.RUN_CANCELED,
        # Where it could not be submitted.
        DagsterEventType.RUN_FAILURE,
    }
)
_BACKFILL_MAY_BECOME: Final = frozenset({BulkActionStatus.CANCELING, BulkActionStatus.REQUESTED})
# Whether conditions are evaluated at all; every other cursor is the daemon's.
_CURSORS: Final = frozenset({"ASSET_DAEMON_PAUSED"})


@facade(RunStorage, POLICIES)
class OrgRunStorage(Facade, RunStorage):
    """An org's runs, backfills and snapshots.

    Args:
        inner: Everybody's.
        own: What is the org's.
        role: What who asks is in the org.
        actor: Who asks, as their runs show it.
        launch_ids: The launches that the control plane has noted for the runs of this request; each
            run takes one.
    """

    def __init__(
        self,
        inner: StampingRunStorage,
        own: Ownership,
        role: Role,
        actor: str,
        launch_ids: deque[str],
    ) -> None:
        super().__init__(inner, own, role)
        self._queries = OwnedQueries(inner, own.org)
        self._actor = actor
        self._launch_ids = launch_ids

    # Runs

    @override
    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        origin = dagster_run.remote_job_origin
        ancestors = {one for one in (dagster_run.parent_run_id, dagster_run.root_run_id) if one}
        snapshots = (dagster_run.job_snapshot_id, dagster_run.execution_plan_snapshot_id)
        is_own = (
            origin is not None
            and run_origins.org_of_repository(origin.repository_origin) == self._own.org
            and self._own.runs_among(ancestors) == ancestors
            and self._are_own(dagster_run.asset_selection or ())
            and self._are_own(dagster_run.asset_check_selection or ())
            and all(self._own.has_snapshot(id_) for id_ in snapshots if id_)
        )
        if not is_own:
            raise OrgBoundary("add_run")
        if dagster_run.run_config:
            raise ConfigRefused
        tags = self._tags(dagster_run.tags) | {CODE_LOCATION_TAG: self._own.location}
        if self._launch_ids:
            tags[LAUNCH_TAG] = self._launch_ids.popleft()
        return self._inner.add_run(dagster_run.with_tags(tags))

    @override
    def delete_run(self, run_id: str) -> None:
        self._check_run(run_id)
        (run,) = self._inner.get_runs(RunsFilter(run_ids=[run_id]))
        if not run.is_finished:
            raise NotEnded
        self._inner.delete_run(run_id)

    @override
    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        self._check_run(run_id)
        self._inner.add_run_tags(run_id, run_tags.of_a_person(new_tags))

    @override
    def handle_run_event(
        self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None
    ) -> None:
        self._check_run(run_id)
        if event.event_type not in _RUN_MAY_BECOME:
            raise OrgBoundary("handle_run_event")
        self._inner.handle_run_event(run_id, event, update_timestamp)

    @override
    def get_runs(
        self,
        filters: RunsFilter | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        bucket_by: Bucket = None,
        ascending: bool = False,
    ) -> Sequence[DagsterRun]:
        if self._is_foreign(cursor):
            return []
        return self._queries.get_runs(filters, cursor, limit, bucket_by, ascending)

    @override
    def get_run_ids(
        self,
        filters: RunsFilter | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Sequence[str]:
        if self._is_foreign(cursor):
            return []
        return self._queries.get_run_ids(filters, cursor, limit)

    @override
    def get_run_records(
        self,
        filters: RunsFilter | None = None,
        limit: int | None = None,
        order_by: str | None = None,
        ascending: bool = False,
        cursor: str | None = None,
        bucket_by: Bucket = None,
    ) -> Sequence[RunRecord]:
        if self._is_foreign(cursor):
            return []
        return self._queries.get_run_records(filters, limit, order_by, ascending, cursor, bucket_by)

    @override
    def get_runs_count(self, filters: RunsFilter | None = None) -> int:
        return self._queries.get_runs_count(filters)

    @override
    def get_run_partition_data(self, runs_filter: RunsFilter) -> Sequence[RunPartitionData]:
        return self._queries.get_run_partition_data(runs_filter)

    @override
    def get_run_group(self, run_id: str) -> tuple[str, Sequence[DagsterRun]] | None:
        if not self._own.has_run(run_id):
            raise DagsterRunNotFoundError(
                f"Run {run_id} was not found in instance.", invalid_run_id=run_id
            )
        root_run_id, runs = self._inner.get_run_group(run_id)
        own = self._own.runs_among({run.run_id for run in runs})
        if root_run_id not in own:
            raise OrgBoundary("get_run_group")
        return root_run_id, [run for run in runs if run.run_id in own]

    @override
    def get_run_tags(
        self, tag_keys: Sequence[str], value_prefix: str | None = None, limit: int | None = None
    ) -> Sequence[tuple[str, set[str]]]:
        return self._queries.get_run_tags(tag_keys, value_prefix, limit)

    @override
    def get_run_tag_keys(self) -> Sequence[str]:
        return self._queries.get_run_tag_keys()

    # Snapshots

    @override
    def has_job_snapshot(self, job_snapshot_id: str) -> bool:
        return self._own.has_snapshot(job_snapshot_id) and self._inner.has_job_snapshot(
            job_snapshot_id
        )

    @override
    def add_job_snapshot(self, job_snapshot: JobSnap) -> str:
        return self._take(self._inner.add_job_snapshot(job_snapshot))

    @override
    def get_job_snapshot(self, job_snapshot_id: str) -> JobSnap:
        self._check_snapshot(job_snapshot_id)
        snapshot: JobSnap = self._inner.get_job_snapshot(job_snapshot_id)
        if snapshot and snapshot.lineage_snapshot:
            # What a run of a part of a job was planned from, the daemon's runs included.
            self._take(snapshot.lineage_snapshot.parent_snapshot_id)
        return snapshot

    @override
    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        return self._own.has_snapshot(
            execution_plan_snapshot_id
        ) and self._inner.has_execution_plan_snapshot(execution_plan_snapshot_id)

    @override
    def add_execution_plan_snapshot(self, execution_plan_snapshot: ExecutionPlanSnapshot) -> str:
        return self._take(self._inner.add_execution_plan_snapshot(execution_plan_snapshot))

    @override
    def get_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> ExecutionPlanSnapshot:
        self._check_snapshot(execution_plan_snapshot_id)
        return self._inner.get_execution_plan_snapshot(execution_plan_snapshot_id)

    # Backfills

    @override
    def get_backfills(
        self,
        filters: BulkActionsFilter | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        status: BulkActionStatus | None = None,
    ) -> Sequence[PartitionBackfill]:
        if cursor is not None and not self._own.has_backfill(cursor):
            return []
        return self._queries.get_backfills(filters, cursor, limit, status)

    @override
    def get_backfills_count(self, filters: BulkActionsFilter | None = None) -> int:
        return self._queries.get_backfills_count(filters)

    @override
    def get_backfill(self, backfill_id: str) -> PartitionBackfill | None:
        return (
            self._inner.get_backfill(backfill_id) if self._own.has_backfill(backfill_id) else None
        )

    @override
    def add_backfill(self, partition_backfill: PartitionBackfill) -> None:
        if not self._is_own_backfill(partition_backfill):
            raise OrgBoundary("add_backfill")
        if partition_backfill.run_config:
            raise ConfigRefused
        tags = self._tags(partition_backfill.tags)
        self._inner.add_backfill(partition_backfill._replace(tags=tags))

    @override
    def update_backfill(self, partition_backfill: PartitionBackfill) -> None:
        # Nothing but the status is taken from who asks.
        stored = self.get_backfill(partition_backfill.backfill_id)
        if stored is None or partition_backfill.status not in _BACKFILL_MAY_BECOME:
            raise OrgBoundary("update_backfill")
        self._inner.update_backfill(stored.with_status(partition_backfill.status))

    # The daemon's

    @override
    def get_daemon_heartbeats(self) -> Mapping[str, DaemonHeartbeat]:
        # What went wrong names whose it was.
        heartbeats: Mapping[str, DaemonHeartbeat] = self._inner.get_daemon_heartbeats()
        return {name: beat._replace(errors=[]) for name, beat in heartbeats.items()}

    @override
    def get_cursor_values(self, keys: set[str]) -> Mapping[str, str]:
        return self._inner.get_cursor_values(keys & _CURSORS)

    def _tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        return run_tags.of_a_person(tags) | {USER_TAG: self._actor}

    def _take(self, snapshot_id: str) -> str:
        self._own.take_snapshot(snapshot_id)
        return snapshot_id

    def _is_own_backfill(self, backfill: PartitionBackfill) -> bool:
        data = backfill.asset_backfill_data
        # What the daemon writes as it goes on, nobody else brings along.
        is_new = not (
            backfill.serialized_asset_backfill_data
            or backfill.submitting_run_requests
            or backfill.reserved_run_ids
        )
        return (
            is_new
            and run_origins.org_of_backfill(backfill) == self._own.org
            and self._are_own(backfill.asset_selection or ())
            and self._are_own(data.target_subset.asset_keys if data else ())
        )

    def _are_own(self, assets: Iterable[Any]) -> bool:
        return all(map(self._own.has_asset, assets))

    def _is_foreign(self, cursor: str | None) -> bool:
        # As for a run that does not exist: nothing comes after it.
        return bool(cursor) and not self._own.has_run(cursor)

    def _check_run(self, run_id: str) -> None:
        if not self._own.has_run(run_id):
            raise OrgBoundary("run")

    def _check_snapshot(self, snapshot_id: str) -> None:
        if not self._own.has_snapshot(snapshot_id):
            raise OrgBoundary("snapshot")
