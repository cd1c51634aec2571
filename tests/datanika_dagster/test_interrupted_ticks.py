"""A tick that a killed daemon left as begun ends as it did end, once a later one stands for it."""

import secrets
from types import SimpleNamespace

import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.tags import SCHEDULE_NAME_TAG, SCHEDULED_EXECUTION_TIME_TAG

from datanika_dagster.interrupted_ticks import REASON, InterruptedTicks
from tests.datanika_dagster.test_storage import run_of

DUE = 1_700_000_040.0
DUE_AT = "2023-11-14T22:14:00+00:00"


@pytest.fixture
def schedule():
    return f"schedule_{secrets.token_hex(4)}"


def ticked(instance, schedule, at, status):
    return instance.create_tick(
        TickData(
            instigator_origin_id=f"origin of {schedule}",
            instigator_name=schedule,
            instigator_type=InstigatorType.SCHEDULE,
            status=status,
            timestamp=at,
            selector_id=f"selector of {schedule}",
        )
    )


def look(instance):
    list(InterruptedTicks().run_iteration(SimpleNamespace(instance=instance)))


def ticks_of(instance, schedule):
    found = instance.get_ticks(f"origin of {schedule}", f"selector of {schedule}")
    return {tick.timestamp: tick for tick in found}


def test_one_that_a_later_tick_stands_for_is_skipped_with_the_reason(instance, schedule):
    ticked(instance, schedule, DUE, TickStatus.STARTED)
    ticked(instance, schedule, DUE + 60, TickStatus.SKIPPED)
    look(instance)
    tick = ticks_of(instance, schedule)[DUE]
    assert (tick.status, tick.tick_data.skip_reason) == (TickStatus.SKIPPED, REASON)
    assert tick.tick_data.end_timestamp


def test_one_that_had_started_its_run_has_succeeded(instance, schedule):
    tags = {SCHEDULE_NAME_TAG: schedule, SCHEDULED_EXECUTION_TIME_TAG: DUE_AT}
    run = instance.run_storage.add_run(run_of("org_acme", tags=tags))
    ticked(instance, schedule, DUE, TickStatus.STARTED)
    ticked(instance, schedule, DUE + 60, TickStatus.SKIPPED)
    look(instance)
    tick = ticks_of(instance, schedule)[DUE]
    assert (tick.status, tick.run_ids) == (TickStatus.SUCCESS, [run.run_id])


def test_the_latest_is_dagster_s_to_go_on_with(instance, schedule):
    ticked(instance, schedule, DUE - 60, TickStatus.SKIPPED)
    ticked(instance, schedule, DUE, TickStatus.STARTED)
    look(instance)
    assert ticks_of(instance, schedule)[DUE].status is TickStatus.STARTED
