"""Launches of queued runs in threads, so that a slow one holds up no other.

The queue looks again as soon as each run's status says that it is being launched, from when on the
limits count it; not only when its process has started.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Final

from dagster import DagsterInstance
from dagster._core.launcher import LaunchRunContext

_LOGGER: Final = logging.getLogger(__name__)
_BEAT_SECONDS: Final = 0.5

Dequeue = Callable[[DagsterInstance], bool]
"""Marks a run as starting and launches it with the launcher of the instance that it is given."""


class Launches:
    """The launches that are under way in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    def is_under_way(self, run_id: str) -> bool:
        """Tells whether this process is launching a run just now."""
        with self._lock:
            return run_id in self._under_way

    def start(
        self, executor: Executor, instance: DagsterInstance, dequeue_by_run_id: dict[str, Dequeue]
    ) -> Iterator[None]:
        """Starts launches and goes on once each is marked; yields while it waits.

        Raises:
            Exception: One could not even be marked.
        """
        started = [
            self._submit(executor, instance, run_id, dequeue)
            for run_id, dequeue in dequeue_by_run_id.items()
        ]
        for is_marked, future in started:
            while not is_marked.wait(_BEAT_SECONDS):
                yield None
            if future.done():
                future.result()

    def _submit(
        self, executor: Executor, instance: DagsterInstance, run_id: str, dequeue: Dequeue
    ) -> tuple[threading.Event, "Future[bool]"]:
        is_marked = threading.Event()
        with self._lock:
            self._under_way.add(run_id)

        def ended(future: "Future[bool]") -> None:
            with self._lock:
                self._under_way.discard(run_id)
            if is_marked.is_set() and (error := future.exception()):
                _LOGGER.error("Launching run %s failed", run_id, exc_info=error)
            is_marked.set()

        announcing: Any = _AnnouncingInstance(instance, is_marked.set)
        future = executor.submit(dequeue, announcing)
        future.add_done_callback(ended)
        return is_marked, future


class _AnnouncingInstance:
    """The instance, but for its launcher, which says first that it has been called."""

    def __init__(self, instance: DagsterInstance, announce: Callable[[], None]) -> None:
        self._instance = instance
        self._announce = announce

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)

    @property
    def run_launcher(self) -> "_AnnouncingInstance":
        return self

    def launch_run(self, context: LaunchRunContext) -> None:
        self._announce()
        self._instance.run_launcher.launch_run(context)
