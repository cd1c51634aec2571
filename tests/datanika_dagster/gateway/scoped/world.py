"""Four orgs in one Dagster instance, each with something of every kind, and their views of it.

Their slugs are prefixes of each other, or equal where "_" stands for any character.
"""

import secrets
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import AssetKey, DagsterInstance, DagsterRun
from dagster._core.asset_graph_view.serializable_entity_subset import SerializableEntitySubset
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.definitions.declarative_automation.serialized_objects import (
    AutomationConditionEvaluation,
    AutomationConditionEvaluationWithRunIds,
    AutomationConditionNodeSnapshot,
)
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.snap import JobSnap, snapshot_from_execution_plan
from dagster._time import get_current_timestamp

from datanika_dagster.gateway.principal import Principal, Role
from datanika_dagster.gateway.scoped import OrgInstance, scoped_instance
from datanika_manifest.names import location_name
from tests.datanika_dagster.test_storage import run_of

EVALUATION_ID = 1


@dataclass(frozen=True)
class Org:
    """An org and what there is of it; its canary is in all of that."""

    instance: DagsterInstance
    slug: str
    canary: str = field(default_factory=lambda: f"canary{secrets.token_hex(6)}")

    @property
    def location(self) -> str:
        return location_name(self.slug)

    @cached_property
    def key(self) -> AssetKey:
        return AssetKey([self.slug, "warehouse", "raw", self.canary])

    @cached_property
    def check(self) -> dg.AssetCheckKey:
        return dg.AssetCheckKey(self.key, self.canary)

    @property
    def pool(self) -> str:
        return f"{self.slug}__dbt__{self.canary}"

    @property
    def partitions(self) -> str:
        return f"{self.slug}__days{self.canary}"

    @property
    def schedule(self) -> str:
        return f"schedule_{self.canary}"

    def view(self, role: Role = Role.OWNER, launch_ids: deque[str] | None = None) -> OrgInstance:
        principal = Principal(self.slug, 1, role, frozenset(), f"user of {self.slug}")
        return scoped_instance(self.instance, principal, lambda: {self.key}, launch_ids)

    # What there is

    @cached_property
    def origin(self) -> RemoteRepositoryOrigin:
        code = GrpcServerCodeLocationOrigin(
            host="localhost", socket="/tmp/none.sock", location_name=self.location
        )
        return RemoteRepositoryOrigin(code, "__repository__")

    @cached_property
    def job(self) -> dg.JobDefinition:
        @dg.op(name=f"op_{self.canary}")
        def step() -> None: ...

        @dg.job(name=f"job_{self.canary}")
        def job() -> None:
            step()

        return job

    @cached_property
    def job_snapshot(self) -> JobSnap:
        return JobSnap.from_job_def(self.job)

    @cached_property
    def plan_snapshot(self) -> Any:
        plan = create_execution_plan(self.job)
        return snapshot_from_execution_plan(plan, self.job_snapshot.snapshot_id)

    @cached_property
    def run(self) -> DagsterRun:
        storage = self.instance.run_storage
        snapshots = {
            "job_snapshot_id": storage.add_job_snapshot(self.job_snapshot),
            "execution_plan_snapshot_id": storage.add_execution_plan_snapshot(self.plan_snapshot),
        }
        tags = {"mine": self.canary, "dagster/partition": self.canary, f"key{self.canary}": "x"}
        return storage.add_run(run_of(self.location, tags=tags, **snapshots))

    @cached_property
    def child(self) -> DagsterRun:
        lineage = {"parent_run_id": self.run.run_id, "root_run_id": self.run.run_id}
        tags = {"mine": self.canary}
        return self.instance.run_storage.add_run(run_of(self.location, tags=tags, **lineage))

    def new_backfill(self, **fields: Any) -> PartitionBackfill:
        values = {
            "backfill_id": secrets.token_hex(4),
            "status": BulkActionStatus.REQUESTED,
            "from_failure": False,
            "tags": {"mine": self.canary},
            "backfill_timestamp": get_current_timestamp(),
            "asset_selection": [self.key],
            **fields,
        }
        return PartitionBackfill(**values)

    @cached_property
    def backfill(self) -> PartitionBackfill:
        backfill = self.new_backfill()
        self.instance.run_storage.add_backfill(backfill)
        return backfill

    @cached_property
    def state(self) -> InstigatorState:
        return self.instance.schedule_storage.add_instigator_state(
            InstigatorState(
                RemoteInstigatorOrigin(self.origin, self.schedule),
                InstigatorType.SCHEDULE,
                InstigatorStatus.RUNNING,
                ScheduleInstigatorData("0 0 * * *"),
            )
        )

    @cached_property
    def tick(self) -> Any:
        return self.instance.schedule_storage.create_tick(
            TickData(
                instigator_origin_id=self.state.instigator_origin_id,
                instigator_name=self.schedule,
                instigator_type=InstigatorType.SCHEDULE,
                status=TickStatus.SKIPPED,
                timestamp=get_current_timestamp(),
                selector_id=self.state.selector_id,
                skip_reason=self.canary,
            )
        )

    def fill(self) -> "Org":
        """Makes something of every kind that is not made on demand."""
        instance, events = self.instance, self.instance.event_log_storage
        instance.report_engine_event(self.canary, self.run)
        assert self.child
        assert self.backfill
        assert self.tick
        materialization = dg.AssetMaterialization(self.key, metadata={"x": self.canary})
        instance.report_runless_asset_event(materialization)
        evaluation = AssetCheckEvaluation(
            asset_key=self.key, check_name=self.canary, passed=True, metadata={"x": self.canary}
        )
        instance.report_runless_asset_event(evaluation)
        events.add_dynamic_partitions(self.partitions, [self.canary])
        events.set_concurrency_slots(self.pool, 1)
        events.claim_concurrency_slot(self.pool, self.run.run_id, self.canary)
        instance.schedule_storage.add_auto_materialize_asset_evaluations(
            EVALUATION_ID, [self._evaluation(self.key), self._evaluation(self.check)]
        )
        for log_key in self.log_keys:
            path = instance.compute_log_manager.get_captured_local_path(log_key, "out")
            self._write(path)
        return self

    @property
    def log_keys(self) -> list[list[str]]:
        return [
            [self.run.run_id, "compute_logs", "step"],
            ["backfill", self.backfill.backfill_id],
            ["__repository__", self.schedule, str(self.tick.tick_id)],
        ]

    def _write(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(self.canary)

    def _evaluation(self, key: Any) -> Any:
        node = AutomationConditionNodeSnapshot(
            class_name="x", description=self.canary, unique_id="x", label=None, name=None,
            operator_type="identity",
        )  # fmt: skip
        empty = SerializableEntitySubset(key=key, value=False)
        evaluation = AutomationConditionEvaluation(
            condition_snapshot=node, true_subset=empty, candidate_subset=empty,
            start_timestamp=1.0, end_timestamp=2.0, subsets_with_metadata=[],
            child_evaluations=[],
        )  # fmt: skip
        return AutomationConditionEvaluationWithRunIds(
            evaluation=evaluation, run_ids=frozenset({self.run.run_id})
        )


def make_orgs(instance: DagsterInstance) -> list[Org]:
    base = f"o{secrets.token_hex(4)}"
    slugs = (base, f"{base}b", f"{base}_b", f"{base}xb")
    return [Org(instance, slug).fill() for slug in slugs]
