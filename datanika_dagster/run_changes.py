"""Tells the control plane as soon as a run has come or has another status; a thread of the daemon's.

What is told carries nothing: the control plane looks for itself, and looks from time to time without
being told. So nothing is lost where it does not answer.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Self

from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable
from datanika_dagster.run_signals import CHANGES, Listener

_LOGGER: Final = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.5
# Many runs may change at once; each time it is told, the control plane looks at all.
_PAUSE_SECONDS: Final = 0.05


class RunChanges:
    """Passes signals of Dagster's storage on to the control plane.

    Args:
        database_url: SQLAlchemy URL of Dagster's storage.
        tell: Tells the control plane; raises where it does not answer.
    """

    def __init__(self, database_url: str, tell: Callable[[], None]) -> None:
        self._signals = Listener(database_url, CHANGES)
        self._tell = tell
        self._stopped = threading.Event()
        self._is_answered = True
        self._thread = threading.Thread(target=self._run, name="run-changes", daemon=True)

    def __enter__(self) -> Self:
        self._signals.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._signals.__exit__(*exception)

    def _run(self) -> None:
        while not self._stopped.is_set():
            if self._signals.wait(_LOOK_SECONDS):
                self._signals.take()
                self._pass_on()
                time.sleep(_PAUSE_SECONDS)

    def _pass_on(self) -> None:
        try:
            self._tell()
        except (ControlPlaneUnreachable, ControlPlaneRefused) as error:
            if self._is_answered:
                _LOGGER.warning("The control plane learns of runs late: %s", error)
            self._is_answered = False
        else:
            self._is_answered = True
