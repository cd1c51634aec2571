"""Launches what reactions call for: one run each, wherever a process dies.

A reaction has a key of its own, which is its launch's (`runs/launching.py`): asked for again, the same
key leads to the same run.
"""

import logging
import threading
import time
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.caller import Caller
from control_plane.access.permissions import Role
from control_plane.audit.service import Actor
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError, Throttled, Unavailable
from control_plane.manifest.errors import NotPublished
from control_plane.reactions.models import Reaction, ReactionState
from control_plane.reactions.repository import ReactionRepository
from control_plane.reactions.successes import react_to_success
from control_plane.runs.dagster import DagsterClient
from control_plane.runs.launching import RunLauncher
from control_plane.runs.models import Run, RunTrigger
from control_plane.runs.schemas import RunTarget
from control_plane.tenancy.service import list_active_orgs

_LOGGER = logging.getLogger(__name__)
SWEEP_SECONDS: Final = 30.0
NOTED_SECONDS: Final = 5.0
AT_ONCE: Final = 20
GIVE_UP_AFTER: Final = timedelta(hours=1)
KEPT_FOR: Final = timedelta(days=30)
MOST_REMOVED: Final = 500
_LONGEST_PAUSE_SECONDS: Final = 60


class ReactionLauncher:
    """Launches the reactions of all orgs.

    Args:
        factory: Makes a transaction for each reaction, inside its org.
        dagster: The adapter to Dagster.
    """

    def __init__(self, factory: sessionmaker[Session], dagster: DagsterClient) -> None:
        self._factory = factory
        self._dagster = dagster
        self._lock = threading.Lock()
        self._noted: dict[int, float] = {}
        self._next_sweep = 0.0

    def note_success(self, session: Session, run: Run) -> None:
        """Records what a success calls for, in its own transaction; it is launched soon after."""
        react_to_success(session, run)
        self.note(run.org_id)

    def note(self, org_id: int) -> None:
        """Has an org looked at for a few seconds: something of it is about to be committed."""
        with self._lock:
            self._noted[org_id] = time.monotonic()

    def run_once(self) -> None:
        """Launches what is due in the orgs of which something was noted, and now and then in all."""
        with transaction(self._factory) as session:
            orgs = {org.id: org.slug for org in list_active_orgs(session)}
        is_sweep = time.monotonic() >= self._next_sweep
        if is_sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
        for org_id in list(orgs) if is_sweep else self._recently_noted():
            if org_id not in orgs:
                continue
            try:
                self._launch_due(org_id, orgs[org_id], and_remove=is_sweep)
            except Exception:
                # The trouble of one org is not the others'.
                _LOGGER.exception("reactions of org %s", orgs[org_id])

    def run_if_due(self) -> None:
        """As `run_once`, where there is anything to look at."""
        if time.monotonic() >= self._next_sweep or self._recently_noted():
            self.run_once()

    def _recently_noted(self) -> list[int]:
        oldest = time.monotonic() - NOTED_SECONDS
        with self._lock:
            self._noted = {org_id: at for org_id, at in self._noted.items() if at >= oldest}
            return list(self._noted)

    def _launch_due(self, org_id: int, org: str, *, and_remove: bool) -> None:
        with transaction(self._factory, org_id) as session:
            reactions = ReactionRepository(session, org_id)
            if and_remove:
                reactions.delete_settled(utc_now() - KEPT_FOR, MOST_REMOVED)
            due = list(reactions.list_due(utc_now(), AT_ONCE))
            session.expunge_all()
        for reaction in due:
            if not self._launch(reaction, org):
                # Where nobody answers, each of them would cost everybody twenty seconds.
                return

    def _launch(self, reaction: Reaction, org: str) -> bool:
        """Launches; returns False where nobody answers for the org."""
        name = f"{reaction.cause_type} {reaction.cause_id}"
        actor = Actor("system", None, name)
        caller = Caller(reaction.org_id, org, actor, Role.VIEWER, frozenset())
        trigger = RunTrigger(reaction.cause_type)
        launcher = RunLauncher(
            self._factory, self._dagster, caller, trigger, load_timeout_seconds=0
        )
        target = RunTarget.model_validate({"type": reaction.target_type, "id": reaction.target_id})
        try:
            run = launcher.launch([target], reaction.launch_key)
        except NotPublished as error:
            self._settle(reaction, ReactionState.SKIPPED, error.detail)
        except DatanikaError as error:
            self._postpone(reaction, error)
            return not isinstance(error, Unavailable)
        else:
            self._settle(reaction, ReactionState.LAUNCHED, None, run.id)
        return True

    def _settle(
        self,
        reaction: Reaction,
        state: ReactionState,
        reason: str | None,
        run_id: str | None = None,
    ) -> None:
        with transaction(self._factory, reaction.org_id) as session:
            row = ReactionRepository(session, reaction.org_id).find_pending(reaction.id)
            if row is not None:
                row.state, row.reason, row.run_id = state, reason, run_id

    def _postpone(self, reaction: Reaction, error: DatanikaError) -> None:
        """Has it launched later, unless it would be refused again or too long has passed."""
        next_attempt_at = utc_now() + _pause(reaction.attempts, error)
        if not error.is_retryable or next_attempt_at > reaction.created_at + GIVE_UP_AFTER:
            self._settle(reaction, ReactionState.FAILED, error.detail)
            return
        _LOGGER.info("%s %s: later: %s", reaction.cause_type, reaction.cause_id, error.detail)
        with transaction(self._factory, reaction.org_id) as session:
            row = ReactionRepository(session, reaction.org_id).find_pending(reaction.id)
            if row is not None:
                row.attempts += 1
                row.reason, row.next_attempt_at = error.detail, next_attempt_at
                self.note(reaction.org_id)


def _pause(attempts: int, error: DatanikaError) -> timedelta:
    if isinstance(error, Throttled):
        return timedelta(seconds=error.retry_after_seconds)
    return timedelta(seconds=min(2 ** min(attempts, 6), _LONGEST_PAUSE_SECONDS))
