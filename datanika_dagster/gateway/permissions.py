"""Dagster's permissions in an org, by role: what the UI greys out, and what Dagster checks itself.

None is ever given for the whole deployment: several of Dagster's checks are content with that before
they look at the code location.
"""

from collections.abc import Mapping
from typing import Final

from dagster._core.workspace.permissions import (
    LOCATION_SCOPED_PERMISSIONS,
    PermissionResult,
    Permissions,
)

from datanika_dagster.gateway.errors import GatewayMisconfigured
from datanika_dagster.gateway.principal import Principal, Role
from datanika_manifest.intents import INTENTS

REASON: Final = "Your role does not allow this."

MUTATION_OF: Final[Mapping[Permissions, str | None]] = {
    Permissions.LAUNCH_PIPELINE_EXECUTION: "launchRun",
    Permissions.LAUNCH_PIPELINE_REEXECUTION: "launchRunReexecution",
    Permissions.START_SCHEDULE: "startSchedule",
    Permissions.STOP_RUNNING_SCHEDULE: "stopRunningSchedule",
    Permissions.SCHEDULE_DRY_RUN: "scheduleDryRun",
    Permissions.EDIT_SENSOR: "startSensor",
    Permissions.SENSOR_DRY_RUN: "sensorDryRun",
    Permissions.UPDATE_SENSOR_CURSOR: "setSensorCursor",
    Permissions.TERMINATE_PIPELINE_EXECUTION: "terminateRun",
    Permissions.DELETE_PIPELINE_RUN: "deleteRun",
    Permissions.RELOAD_REPOSITORY_LOCATION: "reloadRepositoryLocation",
    Permissions.RELOAD_WORKSPACE: None,
    Permissions.WIPE_ASSETS: "wipeAssets",
    Permissions.REPORT_RUNLESS_ASSET_EVENTS: "reportRunlessAssetEvents",
    Permissions.LAUNCH_PARTITION_BACKFILL: "launchPartitionBackfill",
    Permissions.CANCEL_PARTITION_BACKFILL: "cancelPartitionBackfill",
    Permissions.EDIT_DYNAMIC_PARTITIONS: "addDynamicPartition",
    Permissions.TOGGLE_AUTO_MATERIALIZE: None,
    Permissions.EDIT_CONCURRENCY_LIMIT: None,
    Permissions.EDIT_APP_MANAGED_COMPONENTS: None,
    Permissions.REFRESH_COMPONENT_STATE: None,
}
"""The mutation that a permission stands for, whose row says who has it; None: nobody in an org."""


def check_table() -> None:
    """Compares the table with Dagster.

    Raises:
        GatewayMisconfigured: A permission has no row, or a row no permission.
    """
    if MUTATION_OF.keys() != set(Permissions):
        names = sorted(permission.value for permission in MUTATION_OF.keys() ^ set(Permissions))
        raise GatewayMisconfigured(f"Dagster's permissions differ from the table: {names}")


def may(principal: Principal, mutation: str) -> bool:
    """Tells whether somebody may use a mutation: by role, and by what the control plane said."""
    intent = INTENTS.get(mutation)
    if intent is None:
        return False
    return principal.role.at_least(Role(intent.role)) and intent.permission in principal.permissions


def in_location(principal: Principal | None) -> dict[str, PermissionResult]:
    """Returns what somebody may do in a code location; None: it is not their org's."""
    return {
        permission: _result(
            principal is not None and mutation is not None and may(principal, mutation)
        )
        for permission, mutation in MUTATION_OF.items()
        if permission in LOCATION_SCOPED_PERMISSIONS
    }


def in_deployment() -> dict[str, PermissionResult]:
    """Returns what somebody in an org may do everywhere: nothing."""
    return {permission: _result(False) for permission in Permissions}


def _result(is_enabled: bool) -> PermissionResult:
    return PermissionResult(enabled=is_enabled, disabled_reason=None if is_enabled else REASON)
