"""Waiting for the platform to be unlocked, in the process of a run. Knows no credentials."""

import time
from collections.abc import Callable
from typing import TypeVar

from datanika_dagster.errors import ControlPlaneUnreachable, PlatformSealed

POLL_SECONDS = 2.0
Answer = TypeVar("Answer")


def while_sealed(ask: Callable[[], Answer], on_wait: Callable[[str | None], None]) -> Answer:
    """Asks until the platform is not sealed any more, and returns the answer.

    Nothing but the end of the run bounds the wait. A control plane that stops answering while the
    run waits is waited for, too: unlocking may go with a restart.

    Args:
        ask: Is tried again after a while when it raises PlatformSealed.
        on_wait: Called before each pause, the first time with the control plane's reason; ends the
            wait by raising.

    Raises:
        ControlPlaneUnreachable: No answer to the first question.
        ExecutionError: Whatever else `ask` raises.
    """
    is_waiting = False
    while True:
        try:
            return ask()
        except PlatformSealed as error:
            on_wait(None if is_waiting else str(error))
            is_waiting = True
        except ControlPlaneUnreachable:
            if not is_waiting:
                raise
            on_wait(None)
        time.sleep(POLL_SECONDS)
