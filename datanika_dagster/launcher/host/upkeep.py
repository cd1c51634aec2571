"""What a host does from time to time for its own: it removes what nobody needs any more."""

import time

from datanika_dagster.launcher.host.ground import Ground

INTERVAL_SECONDS = 3600.0


class Upkeep:
    """The upkeep of one host: at once, and every hour.

    Args:
        ground: Says where, and forks who does it.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._due_at = time.monotonic()

    @property
    def due_at(self) -> float:
        """When `do_what_is_due` has something to do, on the monotonic clock."""
        return self._due_at

    def do_what_is_due(self) -> None:
        """Has a child of the host's own tidy up, where it is time."""
        now = time.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + INTERVAL_SECONDS
        runs = self._ground.children.of_kind("run")
        living = [str(child.label["run_id"]) for child in runs]
        self._ground.errand(lambda: self._ground.places.tidy_up(living))
