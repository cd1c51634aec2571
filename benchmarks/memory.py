"""How much memory processes take, each page counted once between those that share it."""

import threading
import time
from collections.abc import Callable, Iterable

import psutil

BYTES_PER_MB = 1_000_000


def pss_mb(pids: Iterable[int]) -> float:
    """Returns the sum of the processes' proportional set sizes; those that have gone count nothing.

    Where the system knows none (macOS) it is the unique set size, which is less.
    """
    return sum(map(_pss_bytes, pids)) / BYTES_PER_MB


def tree_of(pid: int) -> list[int]:
    """Returns a process and everything below it."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


class Sampler:
    """Samples a figure in the background while its block runs.

    Args:
        figure: What is sampled.
        interval_seconds: How often.
    """

    def __init__(self, figure: Callable[[], float], interval_seconds: float = 0.1) -> None:
        self._figure = figure
        self._interval_seconds = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.values: list[float] = []

    @property
    def peak(self) -> float:
        """The largest sample."""
        return max(self.values, default=0.0)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            self.values.append(self._figure())
            self._stop.wait(max(0.0, self._interval_seconds - (time.monotonic() - started)))


def _pss_bytes(pid: int) -> int:
    try:
        memory = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return 0
    return getattr(memory, "pss", memory.uss)
