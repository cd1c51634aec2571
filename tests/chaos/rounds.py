"""One round: runs are queued, a victim is killed at random moments, and all must come right."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.chaos import findings, victims
from tests.chaos.site import Site
from tests.end_to_end.conftest import wait_until

BACK_SECONDS: Final = 60.0
RIGHT_SECONDS: Final = 30.0
END_SECONDS: Final = 300.0


@dataclass
class Round:
    """What happened.

    Attributes:
        victim: Who was killed.
        kills: How often.
        right_seconds: How long it took, after all was back, until no run was in a wrong state.
        end_seconds: How long until every run had ended.
        findings: What is wrong.
    """

    victim: str
    kills: int = 0
    right_seconds: float = 0.0
    end_seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


def play(site: Site, victim: str, dice: random.Random, *, runs: int, kills: int) -> Round:
    """Plays a round.

    Args:
        site: Where.
        victim: Whom to kill.
        dice: Decides the moments.
        runs: How many runs are queued first.
        kills: How often the victim is killed.
    """
    played = Round(victim)
    site.launch(runs)
    for _ in range(kills):
        time.sleep(dice.uniform(0.2, 3.0))
        played.kills += victims.kill(site, victim)
        if victim != "worker":
            # The supervisor needs a moment to see it.
            time.sleep(0.5)
            wait_until(site.is_up, bool, BACK_SECONDS)
    started = time.monotonic()
    played.findings += _within(RIGHT_SECONDS, lambda: findings.wrong_states(site))
    played.right_seconds = time.monotonic() - started
    left = _within(END_SECONDS, lambda: findings.unfinished(site))
    played.end_seconds = time.monotonic() - started
    played.findings += [f"run {run_id} does not end" for run_id in left]
    played.findings += _within(RIGHT_SECONDS, lambda: findings.once_all_has_ended(site))
    return played


def _within(seconds: float, look: Callable[[], list[str]]) -> list[str]:
    """Looks until nothing is wrong; returns what still is when the time is up."""
    deadline = time.monotonic() + seconds
    while (wrong := look()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return wrong
