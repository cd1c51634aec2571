"""The one mapping from Dagster's run statuses to the public ones."""

from control_plane.runs.models import RunStatus

PUBLIC_STATUS: dict[str, RunStatus] = {
    "QUEUED": RunStatus.PENDING,
    "NOT_STARTED": RunStatus.PENDING,
    "MANAGED": RunStatus.PENDING,
    "SUSPENDED": RunStatus.PENDING,
    "STARTING": RunStatus.RUNNING,
    "STARTED": RunStatus.RUNNING,
    "CANCELING": RunStatus.RUNNING,
    "SUCCESS": RunStatus.SUCCESS,
    "FAILURE": RunStatus.FAILED,
    "CANCELED": RunStatus.CANCELLED,
}
ENDED = frozenset({RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELLED})
