"""Follows a run through the public REST API: its status and its log."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from datanika_stack.api_client import ApiClient

SUCCESS = "success"
ENDED = frozenset({SUCCESS, "failed", "cancelled"})
_POLL_SECONDS = 1.0
_PAGE_LIMIT = 100


def follow_run(
    client: ApiClient,
    path: str,
    *,
    on_line: Callable[[dict[str, Any]], None] | None = None,
    timeout_seconds: float | None = None,
) -> dict[str, Any]:
    """Waits until a run has ended.

    Args:
        client: The API.
        path: Path of the run.
        on_line: Called with each line of the run's log as it comes.
        timeout_seconds: How long to wait; forever by default.

    Returns:
        The run as it ended, with everything that it made.

    Raises:
        TimeoutError: The time was over first.
        ApiError: The API refused or did not answer.
    """
    deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
    reader = LogReader(client, path)
    while True:
        has_ended = _has_ended(client, path)
        if on_line:
            for line in reader.read():
                on_line(line)
        if has_ended:
            return client.get(path)
        if deadline and time.monotonic() > deadline:
            raise TimeoutError(f"The run has not ended within {timeout_seconds:g} s.")
        time.sleep(_POLL_SECONDS)


def _has_ended(client: ApiClient, path: str) -> bool:
    """Asks for the run's status in the list of runs, which reads no run's whole log."""
    collection, _, run_id = path.rpartition("/")
    for run in client.get(collection, {"limit": _PAGE_LIMIT})["data"]:
        if run["id"] == run_id:
            return run["status"] in ENDED
    # Older than a page of runs.
    return client.get(path)["status"] in ENDED


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
        has_ended = _has_ended(client, path)
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
