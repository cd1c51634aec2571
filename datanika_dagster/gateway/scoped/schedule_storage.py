"""States and ticks of schedules and sensors, and evaluations of conditions, as an org may see them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as db
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    AutoMaterializeAssetEvaluationRecord,
    InstigatorState,
    InstigatorStatus,
    InstigatorTick,
    InstigatorTickSummary,
    TickStatus,
)
from dagster._core.storage.schedules import ScheduleStorage
from dagster._core.storage.schedules.schema import AssetDaemonAssetEvaluationsTable
from typing_extensions import override

from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped.boundary import OrgBoundary
from datanika_dagster.gateway.scoped.ownership import Kind
from datanika_dagster.gateway.scoped.policy import (
    Custom,
    Deny,
    Facade,
    Own,
    Pass,
    Policy,
    facade,
)

POLICIES: Final[Mapping[str, Policy]] = {
    "add_auto_materialize_asset_evaluations": Deny(),
    "add_instigator_state": Custom(least=Role.ADMIN),
    "alembic_version": Deny(),
    "all_instigator_state": Custom(),
    "create_tick": Deny(),
    "delete_instigator_state": Custom(least=Role.ADMIN),
    "get_auto_materialize_asset_evaluations": Own("key", Kind.ASSET, otherwise=list),
    "get_auto_materialize_evaluations_for_evaluation_id": Custom(),
    "get_batch_ticks": Custom(),
    "get_instigator_state": Custom(),
    "get_tick": Custom(),
    "get_tick_summaries": Custom(),
    "get_ticks": Custom(),
    "get_ticks_by_ids": Custom(),
    "migrate": Deny(),
    "optimize": Deny(),
    "optimize_for_webserver": Deny(),
    "purge_asset_evaluations": Deny(),
    "purge_ticks": Deny(),
    "supports_auto_materialize_asset_evaluations": Pass(),
    "supports_batch_queries": Pass(),
    "update_instigator_state": Custom(least=Role.ADMIN),
    "update_tick": Deny(),
    "upgrade": Deny(),
    "wipe": Deny(),
}

# What a tick has no selector for, is found by its origin: by Dagster of years ago, and never here.
_NO_ORIGIN: Final = ""

Record = AutoMaterializeAssetEvaluationRecord[Any]


@facade(ScheduleStorage, POLICIES)
class OrgScheduleStorage(Facade, ScheduleStorage):
    """States and ticks of an org's schedules and sensors, and evaluations of its assets' conditions."""

    @override
    def all_instigator_state(
        self,
        repository_origin_id: str | None = None,
        repository_selector_id: str | None = None,
        instigator_type: InstigatorType | None = None,
        instigator_statuses: set[InstigatorStatus] | None = None,
    ) -> Sequence[InstigatorState]:
        own_id = self._own.repository_selector_id
        if repository_selector_id not in (None, own_id):
            return []
        found: Sequence[InstigatorState] = self._inner.all_instigator_state(
            repository_origin_id, own_id, instigator_type, instigator_statuses
        )
        return [state for state in found if self._own.has_instigator(state.origin)]

    @override
    def get_instigator_state(self, origin_id: str, selector_id: str) -> InstigatorState | None:
        state: InstigatorState | None = self._inner.get_instigator_state(origin_id, selector_id)
        return state if state and self._own.has_instigator(state.origin) else None

    @override
    def add_instigator_state(self, state: InstigatorState) -> InstigatorState:
        self._check(state)
        return self._inner.add_instigator_state(state)

    @override
    def update_instigator_state(self, state: InstigatorState) -> InstigatorState:
        self._check(state)
        return self._inner.update_instigator_state(state)

    @override
    def delete_instigator_state(self, origin_id: str, selector_id: str) -> None:
        # Dagster deletes by both ids, which need not be of one state.
        state = self.get_instigator_state(origin_id, selector_id)
        if state is None or state.instigator_origin_id != origin_id:
            raise OrgBoundary("delete_instigator_state")
        self._inner.delete_instigator_state(origin_id, selector_id)

    @override
    def get_batch_ticks(
        self,
        selector_ids: Sequence[str],
        limit: int | None = None,
        statuses: Sequence[TickStatus] | None = None,
    ) -> Mapping[str, Sequence[InstigatorTick]]:
        found: Mapping[str, Sequence[InstigatorTick]] = self._inner.get_batch_ticks(
            selector_ids, limit, statuses
        )
        return {id_: own for id_, ticks in found.items() if (own := self._of_org(ticks))}

    @override
    def get_tick(self, tick_id: int) -> InstigatorTick:
        ticks = self.get_ticks_by_ids([tick_id])
        if not ticks:
            raise OrgBoundary("get_tick")
        return ticks[0]

    @override
    def get_ticks_by_ids(self, tick_ids: Sequence[int]) -> Sequence[InstigatorTick]:
        return self._of_org(self._inner.get_ticks_by_ids(tick_ids))

    @override
    def get_ticks(
        self,
        origin_id: str,
        selector_id: str,
        before: float | None = None,
        after: float | None = None,
        limit: int | None = None,
        statuses: Sequence[TickStatus] | None = None,
    ) -> Sequence[InstigatorTick]:
        found = self._inner.get_ticks(_NO_ORIGIN, selector_id, before, after, limit, statuses)
        return self._of_org(found)

    @override
    def get_tick_summaries(
        self,
        origin_id: str,
        selector_id: str,
        before: float | None = None,
        after: float | None = None,
        limit: int | None = None,
        statuses: Sequence[TickStatus] | None = None,
    ) -> Sequence[InstigatorTickSummary]:
        # Summaries do not name whose they are; one whole tick of the same selector does.
        if not self._of_org(self._inner.get_ticks(_NO_ORIGIN, selector_id, limit=1)):
            return []
        return self._inner.get_tick_summaries(
            _NO_ORIGIN, selector_id, before, after, limit, statuses
        )

    @override
    def get_auto_materialize_evaluations_for_evaluation_id(
        self, evaluation_id: int
    ) -> Sequence[Record]:
        # Each org's automation counts for itself: all of them have a first evaluation.
        columns = AssetDaemonAssetEvaluationsTable.c
        query = db.select(
            *(columns.id, columns.asset_evaluation_body, columns.evaluation_id),
            *(columns.create_timestamp, columns.asset_key),
        ).where(
            columns.evaluation_id == evaluation_id,
            db.or_(*(columns.asset_key.startswith(one, autoescape=True) for one in self._keys())),
        )
        with self._inner.connect() as connection:
            rows = connection.execute(query).mappings().fetchall()
        records = [AutoMaterializeAssetEvaluationRecord.from_db_row(row) for row in rows]
        return [record for record in records if self._own.has_asset(record.key)]

    def _keys(self) -> tuple[str, str]:
        """Returns what the stored keys of the org's assets begin with, and those of its checks."""
        of_assets = json.dumps([self._own.org, ""]).removesuffix('""]')
        return of_assets, json.dumps({"asset_key": of_assets}).removesuffix('"}')

    def _of_org(self, ticks: Sequence[InstigatorTick]) -> Sequence[InstigatorTick]:
        return [tick for tick in ticks if self._own.has_tick(tick)]

    def _check(self, state: InstigatorState) -> None:
        if not self._own.has_instigator(state.origin):
            raise OrgBoundary("instigator")
