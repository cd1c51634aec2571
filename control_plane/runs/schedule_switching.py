"""Keeps Dagster's schedules running or stopped as their rows say, without a publish.

The row is the one truth: what a person switches by REST, on the command line or in the Dagster UI is
written there first. A manifest only says how a schedule starts out.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.orm import Session, sessionmaker

from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError
from control_plane.runs import queries
from control_plane.runs.dagster import REPOSITORY, DagsterClient
from control_plane.schedules.service import list_schedules
from control_plane.tenancy.service import ActiveOrg, list_active_orgs
from datanika_manifest.names import location_name

_LOGGER = logging.getLogger(__name__)
LOOK_SECONDS: Final = 4.0
CHANGED_WITHIN: Final = timedelta(minutes=2)
FULL_LOOK_SECONDS: Final = 300.0


@dataclass(frozen=True)
class _Switch:
    """A schedule as Dagster has it."""

    name: str
    state_id: str
    is_running: bool


class ScheduleSwitching:
    """Looks at the schedules that were changed lately, and now and then at all.

    Args:
        factory: Makes a transaction for each org.
        dagster: The adapter to Dagster.
    """

    def __init__(self, factory: sessionmaker[Session], dagster: DagsterClient) -> None:
        self._factory = factory
        self._dagster = dagster
        self._next_look = 0.0
        self._next_full_look = 0.0

    def run_if_due(self) -> None:
        """Looks, where the last look is older than a few seconds."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        is_full = now >= self._next_full_look
        if is_full:
            self._next_full_look = now + FULL_LOOK_SECONDS
        self.run_once(None if is_full else CHANGED_WITHIN)

    def run_once(self, changed_within: timedelta | None = None) -> None:
        """Looks at each org; the trouble of one is not the others'.

        Args:
            changed_within: Only at schedules that were changed so lately.
        """
        with transaction(self._factory) as session:
            orgs = list_active_orgs(session)
        for org in orgs:
            try:
                self._look_at(org, changed_within)
            except DatanikaError as error:
                _LOGGER.warning("schedules of org %s: %s", org.slug, error.detail)
            except Exception:
                _LOGGER.exception("schedules of org %s", org.slug)

    def _look_at(self, org: ActiveOrg, changed_within: timedelta | None) -> None:
        changed_after = None if changed_within is None else utc_now() - changed_within
        with transaction(self._factory, org.id) as session:
            rows = list_schedules(session, org.id, changed_after)
            wanted = {f"schedule_{row.id}": row.is_active for row in rows}
        if not wanted:
            return
        for switch in self._switches(org.slug):
            if wanted.get(switch.name, switch.is_running) != switch.is_running:
                self._turn(org.slug, switch)

    def _switches(self, org: str) -> Iterable[_Switch]:
        selector = {"repositoryName": REPOSITORY, "repositoryLocationName": location_name(org)}
        answer = self._dagster.ask("schedulesOrError", queries.SCHEDULES, {"selector": selector})
        # Where nothing is published, or nothing is loaded yet, there is nothing to switch.
        results: list[dict[str, Any]] = answer.get("results", [])
        for result in results:
            state = result["scheduleState"]
            yield _Switch(result["name"], state["id"], state["status"] == "RUNNING")

    def _turn(self, org: str, switch: _Switch) -> None:
        if switch.is_running:
            field, query = "stopRunningSchedule", queries.STOP_SCHEDULE
            variables: dict[str, Any] = {"id": switch.state_id}
        else:
            field, query = "startSchedule", queries.START_SCHEDULE
            selector = {
                "repositoryName": REPOSITORY,
                "repositoryLocationName": location_name(org),
                "scheduleName": switch.name,
            }
            variables = {"selector": selector}
        self._dagster.ask(field, query, variables)
