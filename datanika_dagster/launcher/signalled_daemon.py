"""A daemon of Dagster's that looks when it is told to, and from time to time without.

Knows nothing of what it looks at.
"""

import time
from collections.abc import Iterator
from typing import Any

from dagster._daemon.daemon import DaemonIterator, IntervalDaemon, SpanMarker

from datanika_dagster.run_signals import Listener
from datanika_dagster.storage import StampingRunStorage

# So often a waiting daemon yields, for its heartbeat and to be stopped.
BEAT_SECONDS = 0.5


class SignalledDaemon(IntervalDaemon[Any]):
    """An interval daemon whose pause ends with the first signal."""

    def core_loop(self, workspace_process_context: Any, shutdown_event: Any) -> DaemonIterator:
        """Looks, and pauses until there is a signal or the interval is over."""
        storage = workspace_process_context.instance.run_storage
        if not isinstance(storage, StampingRunStorage):
            yield from super().core_loop(workspace_process_context, shutdown_event)
            return
        pause_seconds, self.interval_seconds = self.interval_seconds, 0
        try:
            with Listener(storage.postgres_url) as signals:
                for said in super().core_loop(workspace_process_context, shutdown_event):
                    yield said
                    if said is SpanMarker.END_SPAN:
                        yield from _pause(signals, pause_seconds)
        finally:
            self.interval_seconds = pause_seconds


def _pause(signals: Listener, pause_seconds: float) -> Iterator[None]:
    end = time.monotonic() + pause_seconds
    while (left := end - time.monotonic()) > 0:
        if signals.wait(min(BEAT_SECONDS, left)):
            break
        yield None
    signals.take()
