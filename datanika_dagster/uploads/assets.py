"""An upload as Dagster sees it: one step, one asset per table.

Definitions and the run's side of the step; what is loaded how is the job's (`job.py`), which
runs in a process of its own. Nothing here imports dlt.
"""

from collections.abc import Iterator, Mapping

import dagster as dg

from datanika_dagster import specs
from datanika_dagster.automation.freshness import PolicyByKey
from datanika_dagster.launcher import credentials, run_side
from datanika_dagster.launcher.job_processes import Terms
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import join
from datanika_manifest.run_records import UPLOAD_STEP
from datanika_manifest.uploads import Upload, UploadTable

DEADLINE_SECONDS = 6 * 3600.0


def upload_assets(
    manifest: CodeLocation, upload: Upload, freshness: PolicyByKey
) -> dg.AssetsDefinition:
    """Returns the assets of one upload.

    Args:
        manifest: The manifest that the upload is part of.
        upload: What is loaded.
        freshness: The policy of each asset that has one.
    """
    connectors = {connection.slug: connection.connector for connection in manifest.connections}

    @dg.multi_asset(
        name=join(UPLOAD_STEP, upload.slug),
        description=upload.name,
        specs=[_spec(upload, table, connectors, freshness) for table in upload.tables],
        can_subset=True,
        pool=specs.pool(manifest.org, "upload", upload.slug),
    )
    def load(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        yield from _load(context, manifest, upload)

    return load


def _spec(
    upload: Upload, table: UploadTable, connectors: Mapping[str, str], freshness: PolicyByKey
) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=specs.key(table.asset_key),
        deps=[specs.key(upstream) for upstream in upload.depends_on],
        description=f"{table.source_schema}.{table.source_table} of {upload.source}",
        group_name=upload.slug,
        kinds=specs.kinds("dlt", connectors.get(upload.destination)),
        metadata={
            "dagster/table_name": f"{upload.target_schema}.{table.target_table}",
            "datanika/upload_id": upload.id,
        },
        freshness_policy=freshness.get(table.asset_key),
    )


def _load(
    context: dg.AssetExecutionContext, manifest: CodeLocation, upload: Upload
) -> Iterator[dg.MaterializeResult]:
    granted = credentials.of_run(context, manifest)
    payload = {
        "upload": upload.model_dump(mode="json"),
        "tables": [
            list(table.asset_key)
            for table in upload.tables
            if specs.key(table.asset_key) in context.selected_asset_keys
        ],
        "org": manifest.org,
        "run_id": context.run.run_id,
        **granted.networks,
    }
    yield from run_side.run_job(
        context,
        "upload",
        payload,
        granted.only(upload.source, upload.destination),
        Terms(manifest.org_id, DEADLINE_SECONDS),
    )
