"""Cron schedules. Ticks are the daemon's; what runs is a plain selection of assets.

A tick queues nothing while the schedule's run before it is unfinished, nothing that the org's quota does
not allow, and nothing for a time that is long past: the daemon makes up for the latest one alone of those that it has missed
(docs/decisions/0109-ticks-survive.md).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import SCHEDULE_NAME_TAG, SCHEDULED_EXECUTION_TIME_TAG

from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import join
from datanika_manifest.run_records import ORG_TAG

LATEST_SECONDS: Final = 300
"""A tick that is evaluated later than this is skipped: what it stood for is past."""

Answer = dg.RunRequest | dg.SkipReason


def schedule_definitions(manifest: CodeLocation) -> list[dg.ScheduleDefinition]:
    """Returns the manifest's schedules, running or stopped as their authors left them."""
    return [_definition(schedule, manifest.org) for schedule in manifest.schedules]


def schedule_name(schedule: Schedule) -> str:
    """Returns the name of a schedule, which never changes although its title may."""
    return f"schedule_{schedule.id}"


def _definition(schedule: Schedule, org: str) -> dg.ScheduleDefinition:
    name = schedule_name(schedule)
    keys = [dg.AssetKey(list(key)) for key in schedule.asset_keys]
    return dg.ScheduleDefinition(
        name=name,
        description=schedule.name,
        job=dg.define_asset_job(join("job", name), selection=dg.AssetSelection.assets(*keys)),
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        execution_fn=_tick_of(name, org),
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if schedule.is_active
            else dg.DefaultScheduleStatus.STOPPED
        ),
    )


def _tick_of(name: str, org: str) -> Callable[[dg.ScheduleEvaluationContext], Answer]:
    own = {SCHEDULE_NAME_TAG: name, ORG_TAG: org}

    def tick(context: dg.ScheduleEvaluationContext) -> Answer:
        due_at = context.scheduled_execution_time.astimezone(UTC)
        of_this_tick = own | {SCHEDULED_EXECUTION_TIME_TAG: due_at.isoformat()}
        if context.instance.get_run_ids(dg.RunsFilter(tags=of_this_tick), limit=1):
            # The daemon was killed before it had written that down. Asked for again, Dagster
            # finds the run and starts no second one.
            return dg.RunRequest()
        unfinished = dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, tags=own)
        late = _skipped_as_late(due_at)
        if late is None and (run_ids := context.instance.get_run_ids(unfinished, limit=1)):
            return dg.SkipReason(f"The schedule's run {run_ids[0]} has not finished yet.")
        return late or _skipped_by_quota(context.instance, org) or dg.RunRequest()

    return tick


def _skipped_by_quota(instance: dg.DagsterInstance, org: str) -> dg.SkipReason | None:
    # Not before a tick: a code server that serves definitions needs no database driver.
    from datanika_dagster import quotas  # noqa: PLC0415
    from datanika_dagster.storage import StampingRunStorage  # noqa: PLC0415

    storage = instance.run_storage
    # In somebody else's Dagster there are no quotas.
    reason = quotas.refusal(storage, org) if isinstance(storage, StampingRunStorage) else None
    return dg.SkipReason(reason) if reason else None


def _skipped_as_late(due_at: datetime) -> dg.SkipReason | None:
    late_seconds = time.time() - due_at.timestamp()
    if late_seconds <= LATEST_SECONDS:
        return None
    return dg.SkipReason(
        f"Missed: it was due at {due_at:%Y-%m-%d %H:%M:%S} UTC, {late_seconds:.0f} s before "
        f"anybody could look; a run starts at most {LATEST_SECONDS} s late."
    )
