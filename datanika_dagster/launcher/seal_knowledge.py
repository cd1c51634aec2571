"""What the daemon knows of the platform's seal: asked often, and kept while nobody answers.

Knows nothing of runs.
"""

import time
from collections.abc import Callable
from enum import Enum

from datanika_dagster import control_plane_client, settings
from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable

LOOK_SECONDS = 1.0


class Seal(Enum):
    """What is known."""

    UNKNOWN = "unknown"
    SEALED = "sealed"
    UNSEALED = "unsealed"


class SealKnowledge:
    """The control plane's last word on the seal.

    Args:
        ask: Whether it is sealed; raises where nobody answers.

    Attributes:
        failure: Why the last question was not answered; None where it was.
    """

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self.failure: str | None = None
        self._known = Seal.UNKNOWN
        self._next_look = 0.0

    def look(self) -> Seal:
        """Returns what is known, asked anew where the last answer is older than a second."""
        now = time.monotonic()
        if now >= self._next_look:
            self._known = self._asked()
            self._next_look = time.monotonic() + LOOK_SECONDS
        return self._known

    def _asked(self) -> Seal:
        try:
            now = Seal.SEALED if self._ask() else Seal.UNSEALED
        except ControlPlaneUnreachable as error:
            self.failure = str(error)
            return self._known
        except ControlPlaneRefused as error:
            self.failure = str(error)
            # It answers, but not this: what needs a secret is told so when it asks for one.
            return Seal.UNSEALED if self._known is Seal.UNKNOWN else self._known
        self.failure = None
        return now


def ask_control_plane() -> bool:
    """Asks whether the platform is sealed, as this process.

    It waits for the answer as long as a launch does: on a slow machine, what gives up earlier keeps
    runs waiting that could start.

    Raises:
        ControlPlaneUnreachable: No answer.
        ControlPlaneRefused: This process may not ask.
    """
    config = settings.read()
    with control_plane_client.of_process(config) as client:
        return client.is_sealed()
