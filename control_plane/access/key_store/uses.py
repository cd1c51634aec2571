"""Remembers which keys' use was noted a moment ago, so that not every request writes."""

import threading
import time

RESOLUTION_SECONDS = 60.0
MAXIMUM_KEYS = 10_000


class KeyUses:
    """What this process has noted; another one may note the same use once more."""

    def __init__(self) -> None:
        self._noted_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def is_due(self, key_id: int) -> bool:
        """Tells whether the use of a key has to be written now; then it counts as written."""
        now = time.monotonic()
        with self._lock:
            noted_at = self._noted_at.get(key_id)
            if noted_at is not None and now - noted_at < RESOLUTION_SECONDS:
                return False
            if len(self._noted_at) >= MAXIMUM_KEYS:
                self._noted_at.clear()
            self._noted_at[key_id] = now
            return True
