"""The tags and metadata names that only this package reads; persisted, so append-only.

Those that the control plane reads, too, are in `datanika_manifest/run_records.py`.
"""

WORKER_TAG = "datanika/worker"
MANIFEST_METADATA = "datanika/manifest_sha256"
"""Under this name a plan keeps the manifest that it was made from."""
