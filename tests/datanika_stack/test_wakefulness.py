"""When an org's code server has to run: pure functions of schedules and time."""

from datetime import UTC, datetime, timedelta

import pytest

from datanika_manifest.automation import FreshnessPolicy, Schedule
from datanika_manifest.ticks import next_tick
from datanika_manifest.transformations import TestSeverity as Severity
from datanika_stack.wakefulness import Automation, Wakefulness
from tests.fixtures.code_servers import manifest_of

IDLE = timedelta(minutes=15)
KEY = ("acme", "warehouse", "raw", "flights")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def schedule(cron: str, *, is_active: bool = True) -> Schedule:
    return Schedule(
        id=1, name="s", cron=cron, timezone="UTC", is_active=is_active, asset_keys=(KEY,)
    )


def wakefulness(*crons: str, idle: timedelta = IDLE) -> Wakefulness:
    return Wakefulness(Automation(schedules=tuple(map(schedule, crons))), idle)


def at(minutes: float, seconds: float = 0.0) -> datetime:
    return NOON + timedelta(minutes=minutes, seconds=seconds)


def test_nobody_needs_it() -> None:
    assert not wakefulness().is_needed(NOON, is_awake=True)


def test_it_is_needed_for_a_while_after_its_last_use() -> None:
    org = wakefulness()
    org.use(NOON)
    assert org.is_needed(at(14.9), is_awake=True)
    assert not org.is_needed(at(15), is_awake=True)


def test_it_wakes_half_a_minute_before_a_tick_and_stays_for_it() -> None:
    org = wakefulness("0 13 * * *", "0 15 * * *")
    assert not org.is_needed(at(59, 29), is_awake=False)
    assert org.is_needed(at(59, 30), is_awake=False)
    assert org.is_needed(at(60, 1), is_awake=True)
    assert org.is_needed(at(74), is_awake=True)
    assert not org.is_needed(at(76), is_awake=True)
    assert org.is_needed(at(179, 31), is_awake=False), "the next tick is known again"


def test_what_runs_is_not_stopped_shortly_before_a_tick() -> None:
    org = wakefulness("0 13 * * *")
    assert org.is_needed(at(50), is_awake=True)
    assert not org.is_needed(at(50), is_awake=False)


def test_a_tick_missed_while_nobody_looked_wakes_it() -> None:
    org = wakefulness("0 13 * * *")
    assert not org.is_needed(NOON, is_awake=False)
    assert org.is_needed(at(200), is_awake=False)


def test_a_stopped_schedule_wakes_nobody() -> None:
    stopped = Automation(schedules=(schedule("0 13 * * *", is_active=False),))
    assert not Wakefulness(stopped, IDLE).is_needed(at(59, 45), is_awake=False)
    assert next_tick(stopped.schedules, after=NOON) is None


def test_freshness_keeps_it_awake() -> None:
    policy = FreshnessPolicy(asset_key=KEY, max_age_seconds=3600, severity=Severity.WARN)
    manifest = manifest_of("acme").model_copy(update={"freshness_policies": (policy,)})
    assert Automation.of(manifest).is_watched
    assert Wakefulness(Automation.of(manifest), IDLE).is_needed(NOON, is_awake=False)
    assert not Automation.of(manifest_of("acme")).is_watched


def test_zero_idle_time_means_never() -> None:
    assert wakefulness(idle=timedelta(0)).is_needed(NOON, is_awake=False)


@pytest.mark.parametrize(
    ("crons", "expected"),
    [((), None), (("0 15 * * *", "0 13 * * *"), at(60)), (("*/5 * * * *",), at(5))],
)
def test_the_first_tick_of_all(crons: tuple[str, ...], expected: datetime | None) -> None:
    assert next_tick(map(schedule, crons), after=NOON) == expected
