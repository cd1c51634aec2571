"""Requests that arrive at a served control plane at the same moment."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")


def at_once(*calls: Callable[[], Answer]) -> Sequence[Answer]:
    """Makes all calls from threads that start together, and returns the answers in order."""
    barrier = threading.Barrier(len(calls))

    def started_together(call: Callable[[], Answer]) -> Answer:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(started_together, calls))
