"""One round: runs are queued, a victim is killed at a random moment, and all must come right."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.chaos import findings, victims
from tests.chaos.site import Site
from tests.chaos.watch import RIGHT_SECONDS, Watch

BACK_SECONDS: Final = 60.0
END_SECONDS: Final = 300.0
RUNNING_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.25


@dataclass
class Round:
    """What happened.

    Attributes:
        victim: Who was killed.
        kills: How often.
        runs: How many were launched.
        back_seconds: How long it took at most until everything served again.
        wrong_seconds: How long a run was in a wrong state at most while everything served.
        findings: What is wrong.
    """

    victim: str
    kills: int = 0
    runs: int = 0
    back_seconds: float = 0.0
    wrong_seconds: float = 0.0
    wrong: str = ""
    findings: list[str] = field(default_factory=list)


def play(site: Site, victim: str, dice: random.Random, *, runs: int, kills: int) -> Round:
    """Plays a round.

    Args:
        site: Where.
        victim: Whom to kill.
        dice: Decides the moments.
        runs: How many runs are queued whenever one is killed.
        kills: How often the victim is killed.
    """
    played, watch, before = Round(victim), Watch(site), len(site.launched)
    for _ in range(kills):
        site.queue(runs)
        _kill(site, watch, played, dice)
    conclude(site, watch, played)
    played.runs = len(site.launched) - before
    return played


def conclude(site: Site, watch: Watch, played: Round) -> None:
    """Waits until every run has ended, and notes what is wrong then."""
    if not _until(lambda: not site.unfinished(), END_SECONDS, watch):
        played.findings += [f"run {run_id} does not end" for run_id in site.unfinished()]
    played.wrong_seconds, played.wrong = watch.longest_seconds, watch.longest
    played.findings += watch.findings()
    # Whoever comes now finds everything in order: a tick may run beside it.
    played.findings += [f"run {one} does not succeed" for one in site.load_everything()]
    played.findings += _within(RIGHT_SECONDS, lambda: findings.once_all_has_ended(site))


def _kill(site: Site, watch: Watch, played: Round, dice: random.Random) -> None:
    if not _until(lambda: _runs(site), RUNNING_SECONDS, watch):
        played.findings.append("no run runs")
    _until(lambda: False, dice.uniform(0.0, 2.5), watch)
    if not site.unfinished():
        played.findings.append("nothing was going on when it was killed")
    pid = victims.kill(site, played.victim, dice)
    if pid is None:
        played.findings.append("there was nothing to kill")
        return
    played.kills += 1
    killed = time.monotonic()
    if not _until(lambda: victims.is_replaced(site, played.victim, pid), BACK_SECONDS, watch):
        played.findings.append(f"not everything serves again: {_trouble(site)}")
    played.back_seconds = max(played.back_seconds, time.monotonic() - killed)


def _runs(site: Site) -> bool:
    return bool(site.rows("select 1 from runs where status = 'STARTED' limit 1"))


def _trouble(site: Site) -> list[str]:
    return [f"{p.name} is {p.state}" for p in site.state.processes if p.state != "running"]


def _until(is_so: Callable[[], bool], seconds: float, watch: Watch) -> bool:
    """Looks until it is so; returns whether that was in time. What is wrong meanwhile is noted."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
        watch.look()
    return True


def _within(seconds: float, look: Callable[[], list[str]]) -> list[str]:
    """Looks until nothing is wrong; returns what still is when the time is up."""
    deadline = time.monotonic() + seconds
    while (wrong := look()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return wrong
