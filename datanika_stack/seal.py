"""Whether the platform's secrets can be read just now, as the control plane says, and what to do.

Knows neither keys nor passwords.
"""

import threading
from enum import StrEnum
from typing import Any, Final

from datanika_stack.errors import ControlPlaneUnavailableError
from datanika_stack.internal_api import InternalApi

_POLL_SECONDS: Final = 1.0
UNSEALED: Final = "unsealed: secrets can be read, waiting runs go on"


class SealState(StrEnum):
    """What the control plane says about its keys."""

    UNSEALED = "unsealed"
    SEALED = "sealed"
    UNINITIALIZED = "uninitialized"


_HINTS: Final = {
    SealState.SEALED: "sealed: no secret can be read and runs wait; run `datanika unlock`",
    SealState.UNINITIALIZED: (
        "sealed: there is no master password yet; run `datanika keys set-password`"
    ),
}


def hint_of(state: str | None) -> str | None:
    """Returns what a person should do about a state; None where nothing."""
    return next((hint for sealed, hint in _HINTS.items() if sealed == state), None)


class SealWatch:
    """Asks again and again in a thread of its own; without an answer the last one stays.

    Args:
        api: Whom to ask.
    """

    def __init__(self, api: InternalApi) -> None:
        self._api = api
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seal", daemon=True)
        self._state: str | None = None

    @property
    def state(self) -> str | None:
        """A `SealState`; None as long as nobody has said."""
        return self._state

    def ask(self) -> None:
        """Asks once, now."""
        try:
            answer: Any = self._api.get("/seal")
        except ControlPlaneUnavailableError:
            return
        state = answer.get("state") if isinstance(answer, dict) else None
        if isinstance(state, str) and state in set(SealState):
            self._state = state

    def start(self) -> None:
        """Starts asking."""
        self._thread.start()

    def stop(self) -> None:
        """Stops asking; waits for an answer that is under way."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self.ask()
