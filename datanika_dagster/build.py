"""From a manifest to Dagster definitions, in any Dagster project and without side effects.

It runs in code servers, so nothing here may import dlt or dbt, look at a database or hold a
credential: what a definition does is in the modules that a run imports.
"""

import dagster as dg

from datanika_dagster.automation.freshness import freshness_policies
from datanika_dagster.automation.schedules import schedule_definitions
from datanika_dagster.transformations.assets import dbt_assets
from datanika_dagster.uploads.assets import upload_assets
from datanika_manifest.code_location import CodeLocation


def build_definitions(manifest: CodeLocation) -> dg.Definitions:
    """Returns an org's definitions; the same manifest always gives the same ones.

    Args:
        manifest: What the org has published.
    """
    freshness = freshness_policies(manifest)
    return dg.Definitions(
        assets=[
            *(upload_assets(manifest, upload, freshness) for upload in manifest.uploads),
            *(dbt_assets(manifest, project, freshness) for project in manifest.dbt_projects),
        ],
        schedules=schedule_definitions(manifest),
        # Steps only wait for their jobs: processes of their own would cost seconds each.
        executor=dg.in_process_executor,
    )
