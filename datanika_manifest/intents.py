"""What people do in the Dagster UI, and what the control plane asks of them for it: one table for both.

Each mutation of Dagster's GraphQL that somebody in an org may use stands here with what it takes. The
gateway asks for it first; then the control plane decides on the same row, in its own transaction. A
mutation that has no row is nobody's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Effect(StrEnum):
    """What the control plane does when it allows an intent."""

    RECORD = "record"
    """It writes the audit entry."""
    LAUNCH = "launch"
    """It remembers who launches, and the run's own entry follows when the run is registered."""
    END_RUNS = "end_runs"
    """The runs get no credentials any more."""
    SWITCH_ON = "switch_on"
    """The schedule's row is active."""
    SWITCH_OFF = "switch_off"
    """The schedule's row is not active."""


@dataclass(frozen=True)
class Intent:
    """What a mutation takes, and what it is on record as.

    Attributes:
        permission: The control plane's permission.
        role: The least role; a role that has the permission may be less than the UI asks for.
        action: The verb of the audit entry.
        effect: What else the control plane does.
    """

    permission: str
    role: str
    action: str
    effect: Effect = Effect.RECORD


_LAUNCH = Intent("runs:run", "editor", "run", Effect.LAUNCH)
_BACKFILL = Intent("runs:run", "editor", "backfill")
_END = Intent("runs:run", "editor", "cancel", Effect.END_RUNS)
_DRY_RUN = Intent("runs:run", "editor", "dry_run")
_DELETE = Intent("runs:run", "admin", "delete")
_ON = Intent("schedules:write", "admin", "start", Effect.SWITCH_ON)
_OFF = Intent("schedules:write", "admin", "stop", Effect.SWITCH_OFF)

INTENTS: Final[Mapping[str, Intent]] = {
    "launchPipelineExecution": _LAUNCH,
    "launchRun": _LAUNCH,
    "launchMultipleRuns": _LAUNCH,
    "launchPipelineReexecution": _LAUNCH,
    "launchRunReexecution": _LAUNCH,
    "launchPartitionBackfill": _BACKFILL,
    "resumePartitionBackfill": _BACKFILL,
    "reexecutePartitionBackfill": _BACKFILL,
    "cancelPartitionBackfill": Intent("runs:run", "editor", "cancel"),
    "terminatePipelineExecution": _END,
    "terminateRun": _END,
    "terminateRuns": _END,
    "sensorDryRun": _DRY_RUN,
    "scheduleDryRun": _DRY_RUN,
    "startSchedule": _ON,
    "stopRunningSchedule": _OFF,
    "resetSchedule": Intent("schedules:write", "admin", "reset"),
    "startSensor": Intent("schedules:write", "admin", "start"),
    "stopSensor": Intent("schedules:write", "admin", "stop"),
    "resetSensor": Intent("schedules:write", "admin", "reset"),
    "setSensorCursor": Intent("schedules:write", "admin", "update"),
    "deletePipelineRun": _DELETE,
    "deleteRun": _DELETE,
    "reloadRepositoryLocation": Intent("manifest:write", "admin", "reload"),
    "wipeAssets": Intent("runs:run", "admin", "wipe"),
    "reportRunlessAssetEvents": Intent("runs:run", "admin", "report"),
    "reportAssetCheckEvaluations": Intent("runs:run", "admin", "report"),
    "addDynamicPartition": Intent("runs:run", "admin", "create"),
    "deleteDynamicPartitions": Intent("runs:run", "admin", "delete"),
}

TARGET_KINDS: Final = frozenset(
    {
        "asset",
        "backfill",
        "code_location",
        "job",
        "partitions_definition",
        "run",
        "schedule",
        "sensor",
    }
)
"""What an intent can be about."""
