"""Whether an org needs its code server now. Pure but for the clock it is given; knows no process.

Dagster's daemon and webserver keep what a server has told them about its definitions. A process is
needed only where something is computed: a tick, a launch, a retry, a changed manifest. Whoever needs
that asks for it (`wake_requests.py`); ticks are known beforehand
(docs/decisions/0114-code-servers-sleep.md).
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from datanika_manifest.automation import Schedule
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.ticks import needs_evaluation, next_tick

_LOGGER: Final = logging.getLogger(__name__)
_WAKES_BEFORE_TICK: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class Automation:
    """What of a manifest happens without a person.

    Attributes:
        is_watched: Whether Dagster's daemon looks at the definitions all the time.
        schedules: When something starts.
    """

    is_watched: bool = False
    schedules: tuple[Schedule, ...] = ()

    @classmethod
    def of(cls, manifest: CodeLocation) -> "Automation":
        """Returns the automation in a manifest."""
        return cls(needs_evaluation(manifest), manifest.schedules)


NOTHING_AUTOMATIC: Final = Automation()


class Wakefulness:
    """Tells, again and again, whether one org's server has to run.

    Args:
        automation: Of the published manifest.
        idle_after: How long after its last use it may sleep; zero: never.
    """

    def __init__(self, automation: Automation, idle_after: timedelta) -> None:
        self._automation = automation
        self._idle_after = idle_after
        self._next_tick: datetime | None = None
        self._is_tick_known = True
        self._is_computed = False
        self._used_at: datetime | None = None

    @property
    def used_at(self) -> datetime | None:
        """When it was last used; None for not yet."""
        return self._used_at

    def next_tick_at(self, now: datetime) -> datetime | None:
        """Returns when the next tick is, as it was known before `now`; None also where nobody can say."""
        if not self._is_computed:
            try:
                self._next_tick = next_tick(self._automation.schedules, after=now)
            except (ValueError, LookupError, OverflowError) as error:
                # Publishing has checked the schedules, by what the control plane's machine knew.
                _LOGGER.warning("a server sleeps no more, its next tick is unknown: %s", error)
                self._is_tick_known = False
            self._is_computed = True
        return self._next_tick

    def use(self, now: datetime) -> None:
        """Says that somebody needs the server."""
        self._used_at = now

    def is_needed(self, now: datetime, *, is_awake: bool) -> bool:
        """Returns whether the server has to run.

        Args:
            now: Aware.
            is_awake: Whether it does. What runs is not stopped for a tick that is near.
        """
        if self._automation.is_watched or not self._idle_after:
            return True
        tick = self.next_tick_at(now)
        if not self._is_tick_known:
            return True
        if tick is not None and tick <= now:
            # The daemon evaluates it within the minute, which then counts as a use of its own.
            self._is_computed = False
            self.use(now)
        elif tick is not None and tick - now <= self._margin(is_awake=is_awake):
            return True
        return self._used_at is not None and now - self._used_at < self._idle_after

    def _margin(self, *, is_awake: bool) -> timedelta:
        return max(self._idle_after, _WAKES_BEFORE_TICK) if is_awake else _WAKES_BEFORE_TICK
