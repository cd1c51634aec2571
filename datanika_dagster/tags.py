"""The tags and metadata names that only this package reads; persisted, so append-only.

Those that the control plane reads, too, are in `datanika_manifest/run_records.py`.
"""

WORKER_TAG = "datanika/worker"
MANIFEST_METADATA = "datanika/manifest_sha256"
"""Under this name a plan keeps the manifest that it was made from."""
MACHINERY_PREFIXES = ("dagster-k8s/", "dagster-docker/", "dagster-celery/", "docker/", "ecs/")
"""Of tags by which Dagster's launchers of containers take settings: who launches a run must not choose
its image, its volumes or its rights."""
