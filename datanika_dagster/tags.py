"""The tags and metadata names that this package gives a meaning; persisted, so append-only."""

ORG_TAG = "datanika/org"
MANIFEST_TAG = "datanika/manifest_sha256"
WORKER_TAG = "datanika/worker"
LAUNCH_TAG = "datanika/launch"
"""Names the request that launched a run, so that it is found again; set by the control plane."""

MANIFEST_METADATA = "datanika/manifest_sha256"
"""Under this name a plan keeps the manifest that it was made from."""
