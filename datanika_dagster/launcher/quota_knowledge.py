"""Brings what orgs may run from the control plane to where it is kept. Knows no runs."""

import time
from collections.abc import Callable
from typing import Final

from dagster_postgres.run_storage import PostgresRunStorage

from datanika_dagster import control_plane_client, quotas, settings
from datanika_dagster.errors import ControlPlaneRefused, ControlPlaneUnreachable
from datanika_manifest.quotas import Quotas

LOOK_SECONDS: Final = 5.0


class QuotaKnowledge:
    """The control plane's last word on quotas; the one before stays while nobody answers.

    Args:
        ask: What orgs may run; raises where nobody answers.

    Attributes:
        failure: Why the last question was not answered; None where it was.
    """

    def __init__(self, ask: Callable[[], Quotas]) -> None:
        self._ask = ask
        self._kept: Quotas | None = None
        self._next_look = 0.0
        self.failure: str | None = None

    @property
    def parallel_runs(self) -> int | None:
        """How many runs all orgs may have at once; None before anybody has answered."""
        return None if self._kept is None else self._kept.parallel_runs

    def look(self, storage: PostgresRunStorage) -> None:
        """Asks, where the last answer is older than five seconds, and keeps what is new."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            wanted = self._ask()
        except (ControlPlaneUnreachable, ControlPlaneRefused) as error:
            self.failure = str(error)
            return
        self.failure = None
        if wanted != self._kept:
            quotas.keep(storage, wanted)
            self._kept = wanted


def ask_control_plane() -> Quotas:
    """Asks what orgs may run, as this process.

    Raises:
        ControlPlaneUnreachable: No answer.
        ControlPlaneRefused: This process may not ask.
    """
    with control_plane_client.of_process(settings.read()) as client:
        return client.quotas()
