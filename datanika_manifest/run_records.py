"""Names in what Dagster stores of runs: the execution plane writes them, the control plane reads.

Persisted, so append-only.
"""

ORG_TAG = "datanika/org"
"""The org of a run, stamped by the run storage from the run's origin."""

MANIFEST_TAG = "datanika/manifest_sha256"
"""The manifest that a run was planned with."""

LAUNCH_TAG = "datanika/launch"
"""The launch that a run comes from, so that it is found again; set by the control plane."""

ROW_COUNT = "dagster/row_count"
COLUMN_SCHEMA = "dagster/column_schema"
DURATION_SECONDS = "datanika/duration_seconds"
BACKEND = "datanika/backend"
FAILURES = "datanika/failures"

UPLOAD_STEP = "upload"
"""First part of the name of a step that loads an upload's tables."""

DBT_STEP = "dbt"
"""First part of the name of a step that builds a dbt project's models."""

WAITS_FOR_UNLOCK = (
    "Waiting: the platform is sealed, so no credentials can be read. "
    "The run starts when an operator has unlocked it (datanika unlock)."
)
"""What a queued run says once, as an engine event, while the platform is sealed."""

NOT_STARTED_YET = "Not started yet: "
"""Begins what a run's log says, each time, when nobody could start it; it stays in the queue."""
