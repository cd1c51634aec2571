"""What a queued run was planned to do, read from Dagster's storage and from nowhere else.

Tags are input of whoever launched it. The org is that of the code location the run originates
from, and the manifest the one its plan was made from.
"""

from dataclasses import dataclass
from typing import Any

from dagster import AssetCheckKey, DagsterInstance, DagsterRun
from dagster._core.definitions.metadata.metadata_value import (
    CodeLocationReconstructionMetadataValue,
)
from dagster._core.origin import JobPythonOrigin
from dagster._core.storage.tags import SCHEDULE_NAME_TAG

from datanika_dagster.control_plane_client import RunIntent
from datanika_dagster.errors import RunRefused
from datanika_dagster.tags import MANIFEST_METADATA
from datanika_manifest.names import org_of_location
from datanika_manifest.run_records import LAUNCH_TAG


@dataclass(frozen=True)
class PlannedRun:
    """A run before it starts.

    Attributes:
        intent: What the control plane is asked about.
        origin: Where the code of its job is.
    """

    intent: RunIntent
    origin: JobPythonOrigin


def of(instance: DagsterInstance, run: DagsterRun) -> PlannedRun:
    """Returns what a run was planned to do.

    Args:
        instance: Where its plan is stored.
        run: The run.

    Raises:
        RunRefused: It comes from no org's code location, or its plan names no manifest.
    """
    location = run.remote_job_origin.location_name if run.remote_job_origin else ""
    org = org_of_location(location)
    if org is None or run.job_code_origin is None:
        raise RunRefused("It does not come from an organization's code location.")
    assets = run.asset_selection
    checks = run.asset_check_selection
    return PlannedRun(
        RunIntent(
            org=org,
            manifest_sha256=_manifest_sha256(instance, run),
            asset_keys=None if assets is None else sorted(list(key.path) for key in assets),
            check_keys=None if checks is None else [check_key(key) for key in sorted(checks)],
            schedule=run.tags.get(SCHEDULE_NAME_TAG),
            launch_id=run.tags.get(LAUNCH_TAG),
        ),
        run.job_code_origin,
    )


def check_key(key: AssetCheckKey) -> dict[str, Any]:
    """Returns a check's key as the control plane reads it."""
    return {"asset_key": list(key.asset_key.path), "name": key.name}


def _manifest_sha256(instance: DagsterInstance, run: DagsterRun) -> str:
    plan = (
        instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
        if run.execution_plan_snapshot_id
        else None
    )
    loaded = plan.repository_load_data if plan else None
    planned = loaded.reconstruction_metadata.get(MANIFEST_METADATA) if loaded else None
    if isinstance(planned, CodeLocationReconstructionMetadataValue):
        planned = planned.data
    if not isinstance(planned, str):
        raise RunRefused("Its plan does not say which manifest it was made from.")
    return planned
