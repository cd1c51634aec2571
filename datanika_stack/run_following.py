"""Follows a run through the public REST API: its status and its log."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from datanika_stack.api_client import ApiClient

SUCCESS = "success"
ENDED = frozenset({SUCCESS, "failed", "cancelled"})
_POLL_SECONDS = 0.5


def follow_run(
    client: ApiClient,
    path: str,
    *,
    on_change: Callable[[dict[str, Any]], None] | None = None,
    timeout_seconds: float | None = None,
) -> dict[str, Any]:
    """Waits until a run has ended.

    Args:
        client: The API.
        path: Path of the run.
        on_change: Called with the run each time it was read.
        timeout_seconds: How long to wait; forever by default.

    Returns:
        The run as it ended.

    Raises:
        TimeoutError: The time was over first.
        ApiError: The API refused or did not answer.
    """
    deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
    while True:
        run = client.get(path)
        if on_change:
            on_change(run)
        if run["status"] in ENDED:
            return run
        if deadline and time.monotonic() > deadline:
            raise TimeoutError(f"The run has not ended within {timeout_seconds:g} s.")
        time.sleep(_POLL_SECONDS)


def read_logs(client: ApiClient, path: str) -> Iterator[dict[str, Any]]:
    """Yields the lines that a run's log has now, the oldest first.

    Args:
        client: The API.
        path: Path of the run.

    Raises:
        ApiError: The API refused or did not answer.
    """
    yield from LogReader(client, path).read()


def follow_logs(client: ApiClient, path: str) -> Iterator[dict[str, Any]]:
    """Yields the lines of a run's log until the run has ended; raises as `read_logs` does."""
    reader = LogReader(client, path)
    has_ended = False
    while not has_ended:
        # The status is asked first: what the run wrote before its end is then in the log.
        has_ended = client.get(path)["status"] in ENDED
        yield from reader.read()
        if not has_ended:
            time.sleep(_POLL_SECONDS)


@dataclass
class LogReader:
    """Reads a log in several goes, each from where the last one stopped."""

    client: ApiClient
    path: str
    cursor: str | None = None

    def read(self) -> Iterator[dict[str, Any]]:
        """Yields the lines that have come since the last call; raises as `read_logs` does."""
        has_more = True
        while has_more:
            params = {"cursor": self.cursor} if self.cursor else None
            page = self.client.get(f"{self.path}/logs", params)
            yield from page["data"]
            self.cursor = page["next_cursor"] or self.cursor
            has_more = page["has_more"]
