"""Follows a run through the public REST API: its status and its log."""

import time
from collections.abc import Callable, Iterator
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


def follow_logs(client: ApiClient, path: str) -> Iterator[dict[str, Any]]:
    """Yields the lines of a run's log until the run has ended and nothing is left.

    Raises:
        ApiError: The API refused or did not answer.
    """
    cursor: str | None = None
    while True:
        # The status is read first: what the run wrote before it ended is then in the page.
        has_ended = client.get(path)["status"] in ENDED
        page = client.get(f"{path}/logs", {"cursor": cursor} if cursor else None)
        yield from page["data"]
        cursor = page.get("next_cursor") or cursor
        if has_ended and not page["data"]:
            return
        if not page["data"]:
            time.sleep(_POLL_SECONDS)
