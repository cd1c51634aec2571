"""Bounds what runs for seconds inside a request, overall and for each org.

A request that waits for a task or for Dagster holds a thread and a database connection, and the task
itself calls back. Without a bound, one tenant's parallel requests would use up both and everybody
would wait for everybody.
"""

import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from control_plane.core.errors import Throttled

RETRY_AFTER_SECONDS = 2
SLOW_WORK = "tests, previews, publications, launches or looks at a run"


class Slots:
    """Places for slow work; who finds none is told to come back, and waits for nothing.

    The last places are only for orgs that hold none: a few that take all they get leave something
    to whoever comes next.

    Args:
        total: Places in this process.
        per_org: Places that one org may have of them.
        kept_for_others: How many of the last places nobody gets who holds one already.
        what: What takes the places, for who finds none.
    """

    def __init__(
        self, *, total: int = 8, per_org: int = 3, kept_for_others: int = 2, what: str = SLOW_WORK
    ) -> None:
        self._what = what
        self._total = total
        self._per_org = per_org
        self._kept_for_others = kept_for_others
        self._taken: Counter[int] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, org_id: int) -> Generator[None]:
        """Holds a place while the block runs.

        Raises:
            Throttled: All places, or all that this org may have, are taken.
        """
        with self._lock:
            if not self._has_place(org_id):
                raise Throttled(
                    f"Too many {self._what} are going on; try again in a moment.",
                    retry_after_seconds=RETRY_AFTER_SECONDS,
                )
            self._taken[org_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[org_id] -= 1
                self._taken += Counter()

    def _has_place(self, org_id: int) -> bool:
        held = self._taken[org_id]
        kept = self._kept_for_others if held else 0
        return held < self._per_org and self._taken.total() < self._total - kept
