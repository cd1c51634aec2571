"""Cron schedules. Ticks are the daemon's; what runs is a plain selection of assets.

A tick queues nothing while the schedule's run before it has not even started: while the platform is
sealed, or every place is taken, runs wait, and they would only do the same work several times
(docs/decisions/0076-runs-wait-while-sealed.md).
"""

import dagster as dg
from dagster._core.storage.tags import SCHEDULE_NAME_TAG

from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import join
from datanika_manifest.run_records import ORG_TAG


def schedule_definitions(manifest: CodeLocation) -> list[dg.ScheduleDefinition]:
    """Returns the manifest's schedules, running or stopped as their authors left them."""
    return [_definition(schedule, manifest.org) for schedule in manifest.schedules]


def schedule_name(schedule: Schedule) -> str:
    """Returns the name of a schedule, which never changes although its title may."""
    return f"schedule_{schedule.id}"


def _definition(schedule: Schedule, org: str) -> dg.ScheduleDefinition:
    name = schedule_name(schedule)
    keys = [dg.AssetKey(list(key)) for key in schedule.asset_keys]

    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        own = {SCHEDULE_NAME_TAG: name, ORG_TAG: org}
        waiting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags=own)
        if run_ids := context.instance.get_run_ids(waiting, limit=1):
            return dg.SkipReason(f"The schedule's run {run_ids[0]} still waits to be started.")
        return dg.RunRequest()

    return dg.ScheduleDefinition(
        name=name,
        description=schedule.name,
        job=dg.define_asset_job(join("job", name), selection=dg.AssetSelection.assets(*keys)),
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        execution_fn=tick,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if schedule.is_active
            else dg.DefaultScheduleStatus.STOPPED
        ),
    )
