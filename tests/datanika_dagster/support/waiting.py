"""Waiting for what another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout_seconds: float = 30) -> T:
    """Returns the condition's first true value.

    Raises:
        AssertionError: It did not come true in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"Nothing happened within {timeout_seconds} seconds.")
