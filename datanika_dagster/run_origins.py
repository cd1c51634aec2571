"""Whose a run or a backfill is, by where its code is: never by what somebody wrote on it."""

from dagster import DagsterRun
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.remote_origin import RemoteRepositoryOrigin

from datanika_dagster import settings
from datanika_manifest.names import org_of_location


def org_of_run(run: DagsterRun) -> str | None:
    """Returns the org of a run, None for one of nobody's."""
    if run.remote_job_origin:
        return org_of_repository(run.remote_job_origin.repository_origin)
    # A run without an origin was made by this very process: a shell, which says whose it is.
    return settings.read().org


def org_of_repository(origin: RemoteRepositoryOrigin) -> str | None:
    """Returns the org whose code location a repository is in, None for a location of nobody's."""
    return org_of_location(origin.code_location_origin.location_name)


def org_of_backfill(backfill: PartitionBackfill) -> str | None:
    """Returns the org of a backfill: of its code location, or of all its assets."""
    if backfill.partition_set_origin:
        return org_of_repository(backfill.partition_set_origin.repository_origin)
    orgs = {key.path[0] for key in backfill.asset_selection or ()}
    return orgs.pop() if len(orgs) == 1 else None
