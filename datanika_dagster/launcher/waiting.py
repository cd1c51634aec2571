"""Waiting for the control plane, in the process of a run: to be unlocked, or to be there again.

Knows no credentials.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from datanika_dagster.errors import ControlPlaneUnreachable, PlatformSealed

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""How long a control plane may be silent, as while it is started again, that never said it is sealed."""

Answer = TypeVar("Answer")


def for_control_plane(ask: Callable[[], Answer], on_wait: Callable[[str | None], None]) -> Answer:
    """Asks until the control plane answers and is not sealed any more, and returns the answer.

    Nothing but the end of the run bounds the wait while it is sealed. A control plane that stops
    answering meanwhile is waited for, too: unlocking may go with a restart.

    Args:
        ask: Is tried again after a while when nobody answers, or when it raises PlatformSealed.
        on_wait: Called before each pause, with what is new about the reason; ends the wait by raising.

    Raises:
        ControlPlaneUnreachable: No answer for too long.
        ExecutionError: Whatever else `ask` raises.
    """
    waits_for = ""
    silent_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        before = waits_for
        try:
            return ask()
        except PlatformSealed as error:
            waits_for, silent_at = "unlock", float("inf")
            reason = f"{error} The run goes on when it is unlocked."
        except ControlPlaneUnreachable as error:
            if time.monotonic() >= silent_at:
                raise
            waits_for = waits_for or "answer"
            reason = f"{error} The run goes on when it does."
        on_wait(None if waits_for == before else reason)
        time.sleep(POLL_SECONDS)
