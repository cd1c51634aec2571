"""Cron schedules. Ticks are the daemon's; what runs is a plain selection of assets."""

import dagster as dg

from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import join


def schedule_definitions(manifest: CodeLocation) -> list[dg.ScheduleDefinition]:
    """Returns the manifest's schedules, running or stopped as their authors left them."""
    return [_definition(schedule) for schedule in manifest.schedules]


def schedule_name(schedule: Schedule) -> str:
    """Returns the name of a schedule, which never changes although its title may."""
    return f"schedule_{schedule.id}"


def _definition(schedule: Schedule) -> dg.ScheduleDefinition:
    name = schedule_name(schedule)
    keys = [dg.AssetKey(list(key)) for key in schedule.asset_keys]
    return dg.ScheduleDefinition(
        name=name,
        description=schedule.name,
        job=dg.define_asset_job(join("job", name), selection=dg.AssetSelection.assets(*keys)),
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if schedule.is_active
            else dg.DefaultScheduleStatus.STOPPED
        ),
    )
