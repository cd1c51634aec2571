"""Turns the signals that ask a process to stop into a call. Knows nothing of what is stopped."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def calling(stop: Callable[[], None], *numbers: signal.Signals) -> Iterator[None]:
    """Has a function called for each of these signals, and puts back what was there before.

    Args:
        stop: Called in a thread of its own.
        numbers: Which signals.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        # Not here: the signal may have come while this thread holds the lock of what `stop` sets.
        threading.Thread(target=stop, daemon=True).start()

    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
