"""Brings the rows of runs in line with Dagster, which has the truth about their status."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.task_tokens.service import revoke_run_tokens
from control_plane.audit.service import SYSTEM
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import NotFound
from control_plane.runs.attribution import attribute, find_launch
from control_plane.runs.dagster import (
    SCHEDULE_TAG,
    DagsterClient,
    DagsterRun,
)
from control_plane.runs.models import Run, RunStatus, RunTrigger
from control_plane.runs.repository import RunRepository
from control_plane.runs.results import failure_of
from control_plane.runs.service import log_pages
from control_plane.runs.status import ENDED, PUBLIC_STATUS
from control_plane.tenancy.service import list_active_orgs
from datanika_manifest.run_records import LAUNCH_TAG, MANIFEST_TAG

logger = logging.getLogger(__name__)
# Dagster's clock and transactions: a change can become visible a moment after its time.
CHANGES = "datanika_run_changes"
OVERLAP_SECONDS = 30.0
RECHECK_SECONDS = 60.0
AGAIN_SECONDS = 5.0
# A row may be there a moment before its run is.
MISSING_FOR = timedelta(minutes=10)
MISSING = "Dagster does not have the run any more."
MAXIMUM_RECHECKED = 500
FIRST_LOOK_BACK_SECONDS = 24 * 3600.0


def wake(session: Session) -> None:
    """Has whoever follows the runs look at once, when the transaction has ended."""
    session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANGES})


def _nothing(_session: Session, _run: Run) -> None:
    """Stands for a reconciler whose runs nobody waits for."""


class RunReconciler:
    """Follows the runs of all orgs; one pass is idempotent.

    Args:
        factory: Makes a transaction for each run, inside its org.
        dagster: The adapter to Dagster.
        on_success: Called once for each run that has succeeded, in the transaction that says so.
    """

    def __init__(
        self,
        factory: sessionmaker[Session],
        dagster: DagsterClient,
        on_success: Callable[[Session, Run], None] = _nothing,
    ) -> None:
        self._factory = factory
        self._on_success = on_success
        self._dagster = dagster
        self._since_seconds: float | None = None
        self._seen: dict[str, float] = {}
        self._recheck_at = 0.0
        self._failed: set[str] = set()
        self._again_at = 0.0

    def run_once(self) -> int:
        """Updates the rows of runs that changed, and returns how many there were.

        Raises:
            Unavailable: Dagster does not answer.
        """
        orgs = self._orgs()
        since_seconds = self._since_seconds or self._oldest_open_seconds(orgs.values())
        found = self._dagster.runs_updated_after(since_seconds - OVERLAP_SECONDS)
        changed = [run for run in found if self._seen.get(run.id) != run.updated_at_seconds]
        self._reconcile_all(changed, orgs)
        latest = max((run.updated_at_seconds for run in changed), default=since_seconds)
        # A clock that was ahead once must not hide what happens from now on.
        self._since_seconds = min(max(since_seconds, latest), utc_now().timestamp())
        self._forget(self._since_seconds - 2 * OVERLAP_SECONDS)
        self._try_again(orgs)
        self._recheck_open(orgs)
        return len(changed)

    def _reconcile_all(self, runs: Iterable[DagsterRun], orgs: Mapping[str, int]) -> None:
        for run in runs:
            self._seen[run.id] = run.updated_at_seconds
            org_id = orgs.get(run.org or "")
            if org_id is None:
                continue
            self._failed.discard(run.id)
            try:
                self._reconcile(run, org_id)
            except Exception:
                # One org's run must not keep the others' from being followed.
                self._failed.add(run.id)
                logger.exception("run %s could not be reconciled", run.id)

    def _try_again(self, orgs: Mapping[str, int]) -> None:
        """Asks by id about runs that could not be followed: they may have no row yet."""
        if not self._failed or time.monotonic() < self._again_at:
            return
        self._again_at = time.monotonic() + AGAIN_SECONDS
        ids = sorted(self._failed)[:MAXIMUM_RECHECKED]
        found = self._dagster.find_runs(ids)
        self._failed -= set(ids) - {run.id for run in found}
        self._reconcile_all(found, orgs)

    def _recheck_open(self, orgs: Mapping[str, int]) -> None:
        """Asks, now and then, by id about runs that should have ended or gone on."""
        if time.monotonic() < self._recheck_at:
            return
        self._recheck_at = time.monotonic() + RECHECK_SECONDS
        for org_id in orgs.values():
            with transaction(self._factory, org_id) as session:
                ids = RunRepository(session, org_id).open_ids(MAXIMUM_RECHECKED)
            if ids:
                found = self._dagster.find_runs(ids)
                self._reconcile_all(found, orgs)
                self._end_missing(org_id, set(ids) - {run.id for run in found})

    def _end_missing(self, org_id: int, run_ids: Iterable[str]) -> None:
        """Ends the rows of runs that were deleted in Dagster: nothing would ever be heard of them."""
        for run_id in run_ids:
            with transaction(self._factory, org_id) as session:
                row = RunRepository(session, org_id).lock(run_id)
                if row is None or row.status in ENDED or utc_now() - row.created_at < MISSING_FOR:
                    continue
                row.status, row.ended_at, row.error = RunStatus.CANCELLED, utc_now(), MISSING
                revoke_run_tokens(session, org_id, run_id)

    def _orgs(self) -> dict[str, int]:
        with transaction(self._factory) as session:
            return {org.slug: org.id for org in list_active_orgs(session)}

    def _oldest_open_seconds(self, org_ids: Iterable[int]) -> float:
        """Returns since when something can have happened while nobody followed."""
        oldest = utc_now()
        for org_id in org_ids:
            with transaction(self._factory, org_id) as session:
                created_at = RunRepository(session, org_id).oldest_open_created_at()
            oldest = min(oldest, created_at or oldest)
        return min(oldest.timestamp(), utc_now().timestamp() - FIRST_LOOK_BACK_SECONDS)

    def _forget(self, oldest: float) -> None:
        self._seen = {run_id: at for run_id, at in self._seen.items() if at > oldest}

    def _reconcile(self, run: DagsterRun, org_id: int) -> None:
        status = PUBLIC_STATUS[run.status]
        reason = self._failure(run) if status == RunStatus.FAILED else None
        with transaction(self._factory, org_id) as session:
            runs = RunRepository(session, org_id)
            runs.insert_unless_there(id=run.id, **_first_values(run))
            row = runs.lock(run.id)
            if row is None:
                logger.error("run %s is stamped with org %s but is another's", run.id, run.org)
                return
            launch = find_launch(session, org_id, run.id, run.tags.get(LAUNCH_TAG))
            if launch is not None and launch.run_id is None:
                attribute(session, row, launch)
            was = row.status
            if was in ENDED and status not in ENDED:
                # Another worker has looked later, and been faster.
                return
            _bring_up_to_date(row, run, status, reason)
            if status == RunStatus.SUCCESS and was != status:
                self._on_success(session, row)
            if status in ENDED:
                revoke_run_tokens(session, org_id, run.id)

    def _failure(self, run: DagsterRun) -> str | None:
        try:
            pages = log_pages(self._dagster, run.id)
            return failure_of(event for page in pages for event in page.events)
        except NotFound:
            # Deleted in the Dagster UI a moment ago.
            return None


def _first_values(run: DagsterRun) -> dict[str, Any]:
    return {
        "trigger": _trigger(run),
        "actor_name": SYSTEM.name,
        "targets": [],
        "asset_keys": run.asset_keys,
        "manifest_sha256": run.tags.get(MANIFEST_TAG),
        "created_at": run.created_at,
    }


def _trigger(run: DagsterRun) -> RunTrigger:
    if SCHEDULE_TAG in run.tags:
        return RunTrigger.SCHEDULE
    return RunTrigger.UI if run.is_from_location else RunTrigger.SHELL


def _bring_up_to_date(row: Run, run: DagsterRun, status: RunStatus, reason: str | None) -> None:
    row.status = status
    row.created_at = run.created_at
    row.started_at = run.started_at
    row.ended_at = run.ended_at if status in ENDED else None
    row.error = reason
