"""Builds the definitions of many tables once and prints the CPU time, imports not counted."""

import json
import sys
import time
from collections.abc import Callable

from dagster import Definitions, asset
from dagster._core.remote_representation.external_data import RepositorySnap

from datanika_dagster.build import build_definitions
from datanika_manifest.code_location import CodeLocation, ConnectionRef
from datanika_manifest.uploads import Upload, UploadTable, WriteDisposition

ORG = "bench"
TABLES_PER_UPLOAD = 50


def manifest_of(tables: int) -> CodeLocation:
    """Returns a manifest of `tables` tables in uploads of fifty."""
    return CodeLocation(
        org_id=1,
        org=ORG,
        connections=(
            ConnectionRef(id=1, slug="source", connector="postgres"),
            ConnectionRef(id=2, slug="warehouse", connector="managed_warehouse"),
        ),
        uploads=tuple(
            _upload(number, min(TABLES_PER_UPLOAD, tables - number * TABLES_PER_UPLOAD))
            for number in range(-(-tables // TABLES_PER_UPLOAD))
        ),
    )


def _upload(number: int, tables: int) -> Upload:
    names = [f"t{number}x{position}" for position in range(tables)]
    return Upload(
        id=number + 1,
        slug=f"upload_{number}",
        name=f"Upload {number}",
        source="source",
        destination="warehouse",
        target_schema="raw",
        tables=tuple(
            UploadTable(
                source_schema="public",
                source_table=name,
                target_table=name,
                asset_key=(ORG, "warehouse", "raw", name),
            )
            for name in names
        ),
        write_disposition=WriteDisposition.REPLACE,
    )


def _assets(tables: int) -> Definitions:
    def one(number: int) -> object:
        @asset(key=[ORG, "warehouse", "raw", f"t{number}"])
        def load() -> None: ...

        return load

    return Definitions(assets=[one(number) for number in range(tables)])  # type: ignore[misc]


def cpu_seconds(build: Callable[[], Definitions]) -> float:
    """Returns the CPU seconds of building, resolving and describing: a code server's whole work."""
    started = time.process_time()
    repository = build().get_repository_def()
    repository.get_all_jobs()
    RepositorySnap.from_def(repository)
    return time.process_time() - started


def main() -> None:
    variant, tables = sys.argv[1], int(sys.argv[2])
    manifest = manifest_of(tables)
    builds: dict[str, Callable[[], Definitions]] = {
        "manifest": lambda: build_definitions(manifest),
        "assets": lambda: _assets(tables),
    }
    print(json.dumps({"cpu_seconds": cpu_seconds(builds[variant])}))


if __name__ == "__main__":
    main()
