"""Events, assets, checks, partitions and pools, as an org may see and change them."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as db
from dagster import AssetKey, DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.event_api import AssetEventType
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.event_log.base import AssetEventSummaryRecord, PoolLimit
from dagster._core.storage.event_log.schema import (
    ConcurrencyLimitsTable,
    PendingStepsTable,
)
from dagster._utils.concurrency import ConcurrencyKeyInfo
from typing_extensions import override

from datanika_dagster.event_log import OrgsEventLogStorage
from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped.boundary import OrgBoundary
from datanika_dagster.gateway.scoped.ownership import Kind, Ownership
from datanika_dagster.gateway.scoped.policy import (
    Custom,
    Deny,
    Derived,
    Facade,
    Own,
    OwnAmong,
    Pass,
    Policy,
    facade,
)

_SAME_MOMENT_SECONDS: Final = 0.5

AssetKeys = Callable[[], Collection[AssetKey]]

_OF_RUNS: Final = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        DagsterEventType.ENGINE_EVENT,
        DagsterEventType.RUN_CANCELING,
        DagsterEventType.RUN_CANCELED,
        DagsterEventType.RUN_FAILURE,
    }
)
"""What launching and cancelling a run say of it; all else a run says itself."""

_OF_ASSETS: Final = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_OBSERVATION,
        DagsterEventType.ASSET_CHECK_EVALUATION,
        DagsterEventType.ASSET_WIPED,
    }
)
"""What somebody may report of an asset without a run."""


def _nobody() -> None:
    return None


POLICIES: Final[Mapping[str, Policy]] = {
    "add_dynamic_partitions": Own("partitions_def_name", Kind.NAME, least=Role.ADMIN),
    "alembic_version": Deny(),
    "all_asset_keys": Custom(),
    "asset_records_have_last_observation": Pass(),
    "asset_records_have_last_planned_and_failed_materializations": Pass(),
    "can_read_asset_status_cache": Pass(),
    "can_store_asset_failure_events": Pass(),
    "can_write_asset_status_cache": Pass(),
    "check_concurrency_claim": Deny(),
    "claim_concurrency_slot": Deny(),
    "default_run_scoped_event_tailer_offset": Pass(),
    "delete_concurrency_limit": Deny(),
    "delete_dynamic_partition": Own("partitions_def_name", Kind.NAME, least=Role.ADMIN),
    "delete_events": Own("run_id", Kind.RUN, least=Role.ADMIN),
    "end_watch": Own("run_id", Kind.RUN, otherwise=_nobody),
    "fetch_failed_materializations": Own("records_filter", Kind.ASSET),
    "fetch_materializations": Own("records_filter", Kind.ASSET),
    "fetch_observations": Own("records_filter", Kind.ASSET),
    "fetch_run_status_changes": Deny(),
    "free_concurrency_slot_for_step": Deny(),
    "free_concurrency_slots_for_run": Deny(),
    "get_asset_check_execution_history": Own("check_key", Kind.ASSET, otherwise=list),
    "get_asset_check_partition_info": OwnAmong("keys", Kind.ASSET),
    "get_asset_check_state": OwnAmong("keys", Kind.ASSET),
    "get_asset_check_summary_records": OwnAmong("asset_check_keys", Kind.ASSET),
    "get_asset_event_summary_records": Custom(),
    "get_asset_keys": Custom(),
    "get_asset_keys_for_run": Own("run_id", Kind.RUN, otherwise=set),
    "get_asset_partitions_for_run": Own("run_id", Kind.RUN, otherwise=dict),
    "get_asset_records": OwnAmong("asset_keys", Kind.ASSET),
    # By the instance of the org: it asks for what each asset's partitions are.
    "get_asset_status_cache_values": Derived(),
    "get_asset_tags_to_index": Pass(),
    "get_checkpointed_asset_check_state": OwnAmong("keys", Kind.ASSET),
    "get_concurrency_info": Own("concurrency_key", Kind.NAME),
    "get_concurrency_infos": Custom(),
    "get_concurrency_keys": Custom(),
    "get_concurrency_run_ids": Custom(),
    "get_dynamic_partitions": Own("partitions_def_name", Kind.NAME, otherwise=list),
    "get_event_records": Own("event_records_filter", Kind.ASSET),
    "get_event_tags_for_asset": Own("asset_key", Kind.ASSET, otherwise=list),
    "get_existing_dynamic_partitions": Own("partitions_def_name", Kind.NAME, otherwise=set),
    "get_freshness_state_records": OwnAmong("keys", Kind.ASSET),
    "get_latest_asset_check_execution_by_key": OwnAmong("check_keys", Kind.ASSET),
    "get_latest_asset_partition_materialization_attempts_without_materializations": Own(
        "asset_key", Kind.ASSET, otherwise=dict
    ),
    "get_latest_materialization_events": OwnAmong("asset_keys", Kind.ASSET),
    "get_latest_materialization_storage_ids": OwnAmong("asset_keys", Kind.ASSET),
    "get_latest_planned_materialization_info": Own("asset_key", Kind.ASSET, otherwise=_nobody),
    "get_latest_storage_id_by_partition": Own("asset_key", Kind.ASSET, otherwise=dict),
    "get_latest_tags_by_partition": Own("asset_key", Kind.ASSET, otherwise=dict),
    "get_logs_for_all_runs_by_log_id": Deny(),
    "get_logs_for_run": Own("run_id", Kind.RUN, otherwise=list),
    "get_materialized_partitions": Own("asset_key", Kind.ASSET, otherwise=set),
    # A running number of all; pages of partitions are read as of it.
    "get_maximum_record_id": Pass(),
    "get_paginated_dynamic_partitions": Own("partitions_def_name", Kind.NAME),
    "get_pool_config": Pass(),
    "get_pool_limits": Custom(),
    "get_records_for_run": Own("run_id", Kind.RUN),
    "get_stats_for_run": Own("run_id", Kind.RUN),
    "get_step_stats_for_run": Own("run_id", Kind.RUN, otherwise=list),
    "get_updated_data_version_partitions": Own("asset_key", Kind.ASSET, otherwise=set),
    "handles_run_events_in_store_event": Pass(),
    "has_asset_key": Own("asset_key", Kind.ASSET, otherwise=bool),
    "has_bounded_dynamic_partition_membership_query": Pass(),
    "has_dynamic_partition": Own("partitions_def_name", Kind.NAME, otherwise=bool),
    "initialize_concurrency_limit_to_default": Deny(),
    "is_persistent": Pass(),
    "is_run_sharded": Pass(),
    "optimize_for_webserver": Deny(),
    "reindex_assets": Deny(),
    "reindex_events": Deny(),
    "set_concurrency_slots": Deny(),
    "store_event": Custom(least=Role.EDITOR),
    "store_event_batch": Derived(least=Role.EDITOR),
    "supports_asset_checks": Pass(),
    "supports_global_concurrency_limits": Pass(),
    "supports_partition_subset_in_asset_materialization_planned_events": Pass(),
    "supports_run_status_change_job_name_filter": Pass(),
    # Whoever looks at an asset has what is known of its partitions written down.
    "update_asset_cached_status_data": Own("asset_key", Kind.ASSET),
    "upgrade": Deny(),
    "watch": Own("run_id", Kind.RUN),
    "wipe": Deny(),
    "wipe_asset": Own("asset_key", Kind.ASSET, least=Role.ADMIN),
    "wipe_asset_cached_status": Own("asset_key", Kind.ASSET, least=Role.ADMIN),
    "wipe_asset_partitions": Own("asset_key", Kind.ASSET, least=Role.ADMIN),
}


@facade(EventLogStorage, POLICIES)
class OrgEventLogStorage(Facade, EventLogStorage):
    """An org's events, assets, checks, partitions and pools.

    Args:
        inner: Everybody's.
        own: What is the org's.
        role: What who asks is in the org.
        asset_keys: Returns the assets that the org's location defines.
    """

    def __init__(
        self, inner: OrgsEventLogStorage, own: Ownership, role: Role, asset_keys: AssetKeys
    ) -> None:
        super().__init__(inner, own, role)
        self._asset_keys = asset_keys
        self._pending: set[str] = set()
        self._pending_at = float("-inf")

    @override
    def store_event(self, event: EventLogEntry) -> None:
        said = event.dagster_event
        if said is None or not self._may_say(event.run_id, said.event_type, _asset_of(said)):
            raise OrgBoundary("store_event")
        self._inner.store_event(event)

    @override
    def all_asset_keys(self) -> Sequence[AssetKey]:
        return self.get_asset_keys()

    @override
    def get_asset_keys(
        self,
        prefix: Sequence[str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Sequence[AssetKey]:
        wanted = list(prefix or [self._own.org])
        if wanted[0] != self._own.org:
            return []
        found: list[AssetKey] = []
        while True:
            # A prefix is a pattern to Dagster, in which "_" stands for any character.
            page = self._inner.get_asset_keys(prefix=wanted, limit=limit, cursor=cursor)
            found += [key for key in page if self._own.has_asset(key)]
            if not limit or len(page) < limit or len(found) >= limit:
                return found[:limit]
            cursor = page[-1].to_string()

    @override
    def get_asset_event_summary_records(
        self,
        event_type: AssetEventType,
        asset_key: AssetKey | None = None,
        run_id: str | None = None,
        storage_ids: Sequence[int] | None = None,
        after_storage_id: int | None = None,
        before_storage_id: int | None = None,
        limit: int | None = None,
        ascending: bool = False,
    ) -> Sequence[AssetEventSummaryRecord]:
        named = (asset_key is None or self._own.has_asset(asset_key)) and (
            run_id is None or self._own.has_run(run_id)
        )
        if not named or (asset_key is None and run_id is None):
            raise OrgBoundary("get_asset_event_summary_records")
        return self._inner.get_asset_event_summary_records(
            *(event_type, asset_key, run_id, storage_ids, after_storage_id),
            *(before_storage_id, limit, ascending),
        )

    @override
    def get_concurrency_infos(
        self, concurrency_keys: Sequence[str]
    ) -> Mapping[str, ConcurrencyKeyInfo]:
        return self._inner.get_concurrency_infos(list(filter(self._own.has_name, concurrency_keys)))

    @override
    def get_concurrency_keys(self) -> set[str]:
        return {one.name for one in self.get_pool_limits()}

    @override
    def get_pool_limits(self) -> Sequence[PoolLimit]:
        columns = ConcurrencyLimitsTable.c
        limits = (columns.concurrency_key, columns.limit, columns.using_default_limit)
        return [
            PoolLimit(name=name, limit=number, from_default=is_default)
            for name, number, is_default in self._of_pools(columns.concurrency_key, *limits)
        ]

    @override
    def get_concurrency_run_ids(self) -> set[str]:
        # Dagster asks once for each run of a list.
        now = time.monotonic()
        if now - self._pending_at > _SAME_MOMENT_SECONDS:
            columns = PendingStepsTable.c
            rows = self._of_pools(columns.concurrency_key, columns.run_id)
            self._pending, self._pending_at = {run_id for (run_id,) in rows}, now
        return set(self._pending)

    def _of_pools(self, pool: Any, *columns: Any) -> Sequence[Any]:
        """Returns columns of the rows whose pool is the org's."""
        query = db.select(*columns).where(pool.startswith(self._own.name_prefix, autoescape=True))
        with self._inner.index_connection() as connection:
            return connection.execute(query).fetchall()

    def _may_say(
        self, run_id: str, kind: DagsterEventType | None, asset_key: AssetKey | None
    ) -> bool:
        if asset_key is not None and not self._own.has_asset(asset_key):
            return False
        if run_id:
            return kind in _OF_RUNS and self._own.has_run(run_id)
        return (
            self._role.at_least(Role.ADMIN)
            and kind in _OF_ASSETS
            and asset_key is not None
            and (kind is DagsterEventType.ASSET_WIPED or asset_key in self._asset_keys())
        )


def _asset_of(event: DagsterEvent) -> AssetKey | None:
    """Returns what an event is about; Dagster's own property leaves checks out."""
    if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
        return event.asset_check_evaluation_data.asset_key
    if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
        return event.asset_check_planned_data.asset_key
    return event.asset_key
