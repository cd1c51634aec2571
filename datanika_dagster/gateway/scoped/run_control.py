"""Submitting and cancelling runs, as an org may do it.

The instance of all does it: its coordinator wakes the queue, and its storages write every row.
"""

from collections.abc import Mapping
from typing import Final

from dagster import DagsterRun
from dagster._core.instance import DagsterInstance
from dagster._core.launcher import RunLauncher
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig
from typing_extensions import override

from datanika_dagster.gateway.principal import Role
from datanika_dagster.gateway.scoped.boundary import OrgBoundary
from datanika_dagster.gateway.scoped.ownership import Kind, Ownership
from datanika_dagster.gateway.scoped.policy import (
    Custom,
    Deny,
    Derived,
    Facade,
    Ignore,
    Own,
    Pass,
    Policy,
    facade,
)

COORDINATOR_POLICIES: Final[Mapping[str, Policy]] = {
    "cancel_run": Own("run_id", Kind.RUN, least=Role.EDITOR),
    "config_type": Deny(),
    "dequeue_interval_seconds": Pass(),
    "dequeue_num_workers": Pass(),
    "dequeue_use_threads": Pass(),
    "from_config_value": Deny(),
    "get_run_queue_config": Custom(),
    "inst_data": Derived(),
    "op_concurrency_slot_buffer": Pass(),
    "should_block_op_concurrency_limited_runs": Pass(),
    "submit_run": Custom(least=Role.EDITOR),
}

LAUNCHER_POLICIES: Final[Mapping[str, Policy]] = {
    # The daemon launches what was submitted.
    "check_run_worker_health": Deny(),
    "get_run_worker_debug_info": Deny(),
    "join": Ignore(),
    "launch_run": Deny(),
    "resume_run": Deny(),
    "supports_check_run_worker_health": Pass(),
    "supports_resume_run": Pass(),
    "terminate": Own("run_id", Kind.RUN, least=Role.EDITOR),
}


@facade(QueuedRunCoordinator, COORDINATOR_POLICIES)
class OrgRunCoordinator(Facade, QueuedRunCoordinator[DagsterInstance]):
    """Submits and cancels an org's runs."""

    def __init__(self, inner: QueuedRunCoordinator, own: Ownership, role: Role) -> None:
        super().__init__(inner, own, role)
        self._inst_data = None

    @override
    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        if not self._own.has_run(context.dagster_run.run_id):
            raise OrgBoundary("submit_run")
        return self._inner.submit_run(context)

    @override
    def get_run_queue_config(self) -> RunQueueConfig:
        config: RunQueueConfig = self._inner.get_run_queue_config()
        return config._replace(tag_concurrency_limits=[])


@facade(RunLauncher, LAUNCHER_POLICIES)
class OrgRunLauncher(Facade, RunLauncher[DagsterInstance]):
    """Cancels an org's runs, and launches none."""
