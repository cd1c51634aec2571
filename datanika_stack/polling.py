"""Waits for a condition of another process."""

import time
from collections.abc import Callable

_POLL_SECONDS = 0.3


def wait_for(
    condition: Callable[[], bool],
    *,
    timeout_seconds: float,
    interval_seconds: float = _POLL_SECONDS,
) -> bool:
    """Asks `condition` until it holds.

    Args:
        condition: Cheap to ask.
        timeout_seconds: How long to ask.
        interval_seconds: The pause between two questions.

    Returns:
        Whether it held in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_seconds)
    return True
