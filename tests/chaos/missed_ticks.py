"""A round in which the daemon is gone for minutes: what was due becomes one run, or a recorded skip."""

import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from datanika_dagster.automation.schedules import LATEST_SECONDS
from tests.chaos import victims
from tests.chaos.findings import DUE_TAG, PARENT_TAG, SCHEDULE_TAG
from tests.chaos.rounds import BACK_SECONDS, Round, conclude
from tests.chaos.site import Site
from tests.chaos.watch import Watch
from tests.end_to_end.conftest import wait_until

MISSED_TICKS: Final = "missed_ticks"
_SEEN_SECONDS: Final = 60.0
_MADE_UP_SECONDS: Final = 40.0
_TAG: Final = "(select max(value) from run_tags t where t.run_id = r.run_id and t.key = %s)"


def play_missed_ticks(site: Site, dice: random.Random, *, runs: int) -> Round:
    """Plays the round: a schedule of each minute misses several, another one its only one.

    Args:
        site: Where each minute ticks already.
        dice: Decides when in a minute the daemon is back.
        runs: How many runs are queued while it is gone.
    """
    played, watch, before = Round(MISSED_TICKS), Watch(site), len(site.launched)
    due_at = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
    with site.ticking(f"{due_at.minute} {due_at.hour} * * *") as late_id:
        wait_until(lambda: _is_known(site, late_id), bool, _SEEN_SECONDS)
        (pid,) = victims.VICTIMS["daemon"](site)
        # A process that is stopped is not started again: nobody ticks.
        os.kill(pid, signal.SIGSTOP)
        gone_at = datetime.now(UTC)
        try:
            site.queue(runs)
            # Not at a full minute: then either of two ticks could be the latest.
            until = due_at.timestamp() + LATEST_SECONDS + dice.uniform(12.0, 30.0)
            time.sleep(until - time.time())
        finally:
            os.kill(pid, signal.SIGKILL)
        played.kills = 1
        back_at = datetime.now(UTC)
        wait_until(lambda: victims.is_replaced(site, "daemon", pid), bool, BACK_SECONDS)
        played.back_seconds = (datetime.now(UTC) - back_at).total_seconds()
        played.findings += _made_up_for(site, gone_at, back_at, late_id)
        conclude(site, watch, played)
    played.runs = len(site.launched) - before
    return played


def _made_up_for(site: Site, gone_at: datetime, back_at: datetime, late_id: int) -> list[str]:
    deadline = time.monotonic() + _MADE_UP_SECONDS
    while (wrong := _missing(site, gone_at, back_at, late_id)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return wrong


def _missing(site: Site, gone_at: datetime, back_at: datetime, late_id: int) -> list[str]:
    due = site.rows(
        f"select {_TAG}, {_TAG} from runs r where {_TAG} is null", SCHEDULE_TAG, DUE_TAG, PARENT_TAG
    )
    late = f"schedule_{late_id}"
    missed = [
        (name, datetime.fromisoformat(at))
        for name, at in due
        if at and gone_at < datetime.fromisoformat(at) <= back_at
    ]
    wrong = [f"{name} has a run for {at}, too late" for name, at in missed if name == late]
    made_up = [at for name, at in missed if name != late]
    latest = back_at.replace(second=0, microsecond=0)
    if made_up != [latest]:
        wrong.append(f"of the missed ticks those at {made_up} have runs, not {latest} alone")
    skips = site.rows(
        "select tick_body from job_ticks where type = 'SCHEDULE' and status = 'SKIPPED'"
        " and tick_body like %s and tick_body like %s",
        f"%{late}%",
        "%Missed: it was due at%",
    )
    return wrong if len(skips) == 1 else [*wrong, f"{late} has {len(skips)} recorded skips"]


def _is_known(site: Site, schedule_id: int) -> bool:
    """Tells whether the daemon ticks the schedule: only what it knew before can be missed."""
    known = site.rows(
        "select 1 from instigators where instigator_body like %s", f"%schedule_{schedule_id}%"
    )
    return bool(known)
