"""When a cron expression ticks, exactly as Dagster's scheduler reads it. Pure functions of time."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter  # pyright: ignore[reportMissingTypeStubs] - it ships none

from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation


def next_ticks(cron: str, timezone: str, count: int, *, after: datetime) -> list[datetime]:
    """Returns the next times at which an expression ticks.

    As Dagster does: a local time that a change of the clocks leaves out ticks when the gap ends,
    and one that comes twice ticks the second time only, unless the expression ticks every hour.

    Args:
        cron: A valid expression.
        timezone: The zone in which it is read.
        count: How many.
        after: Aware; the first tick is later than this.

    Returns:
        Aware times in that zone.
    """
    zone = ZoneInfo(timezone)
    start = after.astimezone(zone).replace(tzinfo=None) - timedelta(hours=2)
    if _ticks_every_hour(cron):
        return _hourly_ticks(cron, zone, count, after)
    naive = croniter(cron, start)
    ticks: list[datetime] = []
    while len(ticks) < count:
        tick = _existing(naive.get_next(datetime), zone)
        if tick > after and (not ticks or tick > ticks[-1]):
            ticks.append(tick)
    return ticks


def _hourly_ticks(cron: str, zone: ZoneInfo, count: int, after: datetime) -> list[datetime]:
    # Every hour that passes has its ticks, so real hours are walked, not the clock's.
    hour = after.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    ticks: list[datetime] = []
    while len(ticks) < count:
        for minute in range(60):
            tick = (hour + timedelta(minutes=minute)).astimezone(zone)
            if tick > after and croniter.match(cron, tick.replace(tzinfo=None)):
                ticks.append(tick)
        hour += timedelta(hours=1)
    return ticks[:count]


def _ticks_every_hour(cron: str) -> bool:
    return croniter.expand(cron)[0][1:] == [["*"], ["*"], ["*"], ["*"]]


def _existing(local: datetime, zone: ZoneInfo) -> datetime:
    """Returns the local time in its zone: the later of two, or the end of the gap it lies in."""
    while True:
        # fold=1 is the later of two (PEP 495), which is what Dagster's scheduler takes.
        aware = local.replace(tzinfo=zone, fold=1)
        if aware.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local:
            return aware
        local = local.replace(second=0, microsecond=0) + timedelta(minutes=1)


def needs_evaluation(manifest: CodeLocation) -> bool:
    """Returns whether Dagster's daemon has to look at these definitions all the time.

    Schedules do not count: when they tick is known beforehand.
    """
    return bool(manifest.freshness_policies)


def next_tick(schedules: Iterable[Schedule], *, after: datetime) -> datetime | None:
    """Returns when the first of the active schedules ticks next; None where none ever does.

    Args:
        schedules: Valid ones; publishing has checked them.
        after: Aware; the tick is later than this.
    """
    ticks = [
        next_ticks(schedule.cron, schedule.timezone, 1, after=after)[0]
        for schedule in schedules
        if schedule.is_active
    ]
    return min(ticks, default=None)
