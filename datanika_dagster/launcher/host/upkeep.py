"""What a host does from time to time for its own: it removes what nobody needs any more."""

import time

from datanika_dagster.launcher.host.ground import Ground
from datanika_dagster.launcher.host.places import Living

INTERVAL_SECONDS = 3600.0
TRY_AGAIN_SECONDS = 0.5


class Upkeep:
    """The upkeep of one host: at once, and every hour; what the system refused, soon again.

    Args:
        ground: Says where, and forks who does it.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._due_at = time.monotonic()
        self._last_try = 0.0

    @property
    def due_at(self) -> float:
        """When `do_what_is_due` has something to do, on the monotonic clock."""
        if not self._ground.is_untidy:
            return self._due_at
        return min(self._due_at, self._last_try + TRY_AGAIN_SECONDS)

    def do_what_is_due(self) -> None:
        """Has a child of the host's own tidy up, where it is time."""
        now = time.monotonic()
        if self._ground.is_untidy and now >= self._last_try + TRY_AGAIN_SECONDS:
            self._last_try = now
            self._ground.tidy_again()
        if now < self._due_at:
            return
        self._due_at = now + INTERVAL_SECONDS
        # One that takes longer than the interval, on a slow disk, is not helped by a second.
        if not self._ground.children.of_kind("upkeep"):
            living = self._living()
            self._ground.errand(lambda: self._ground.places.tidy_up(living), "upkeep")

    def _living(self) -> Living:
        children = self._ground.children.of_kind("run", "job", "post_mortem")
        return Living(
            [str(one.label["run_id"]) for one in children if one.kind == "run"],
            [one.fenced.surroundings.work_dir for one in children if one.fenced],
        )
