"""Reads and cancels runs."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.task_tokens.service import revoke_run_tokens
from control_plane.core.errors import NotFound
from control_plane.core.vault import Vault
from control_plane.runs import results
from control_plane.runs.dagster import (
    MAXIMUM_LOG_PAGE,
    PARENT_TAG,
    DagsterClient,
    LogEvent,
    LogPage,
)
from control_plane.runs.models import Run, RunStatus
from control_plane.runs.repository import RunRepository
from control_plane.runs.schemas import RunLog, RunStep, RunSummary, RunView

# Of 1,000 events each: what one request reads of a run's log. A table takes about twenty.
MAXIMUM_VIEWED_PAGES = 10
View = TypeVar("View", bound=RunSummary)


def page_runs(
    session: Session,
    caller: Caller,
    position: tuple[datetime, str] | None,
    limit: int,
    status: str | None,
) -> Sequence[Run]:
    """Returns the org's runs, newest first."""
    return RunRepository(session, caller.org_id).page_before(position, limit, status)


def get_run(session: Session, caller: Caller, run_id: str) -> Run:
    """Returns a run.

    Raises:
        NotFound: The org has no such run.
    """
    return RunRepository(session, caller.org_id).get(run_id)


def list_successes(
    session: Session, org_id: int, ended_after: datetime, limit: int
) -> Sequence[Run]:
    """Returns the org's runs that have succeeded since then, the latest first."""
    return RunRepository(session, org_id).list_successes(ended_after, limit)


def list_open(session: Session, org_id: int, limit: int) -> Sequence[Run]:
    """Returns the org's runs that have not ended, the latest first."""
    return RunRepository(session, org_id).list_open(limit)


def find_run(session: Session, org_id: int, run_id: str) -> Run | None:
    """Returns a run, None where the org has no such run."""
    return RunRepository(session, org_id).find(run_id)


def with_reason(view: View, vault: Vault) -> View:
    """Returns the view of a run, with what keeps it from starting."""
    if view.status == RunStatus.PENDING and vault.is_sealed:
        view.waiting_for = "unlock"
    return view


def view_run(run: Run, caller: Caller, dagster: DagsterClient) -> RunView:
    """Returns a run with its assets, checks and steps, as Dagster knows them now.

    Raises:
        Unavailable: Dagster does not answer.
    """
    view = RunView.model_validate(run)
    stored = dagster.find_run_of(caller.org, run.id)
    if stored is None:
        return view
    view.retry_of = stored.tags.get(PARENT_TAG)
    events, view.is_complete = _first_events(dagster, run.id)
    view.assets = results.assets_of(events)
    view.checks = results.checks_of(events)
    view.steps = [
        RunStep(
            key=step.key,
            status=step.status.lower() if step.status else None,
            started_at=step.started_at,
            ended_at=step.ended_at,
        )
        for step in stored.steps
    ]
    return view


def _first_events(dagster: DagsterClient, run_id: str) -> tuple[list[LogEvent], bool]:
    """Returns what one request reads of a run's log, and whether that is all."""
    events: list[LogEvent] = []
    for page in islice(log_pages(dagster, run_id), MAXIMUM_VIEWED_PAGES):
        events.extend(event for event in page.events if event.kind in results.VIEWED_KINDS)
        if not page.has_more:
            return events, True
    return events, False


def log_pages(dagster: DagsterClient, run_id: str) -> Iterator[LogPage]:
    """Gives a run's log page by page, oldest first: one of them is all that is in memory.

    Raises:
        NotFound: Dagster has no such run.
        Unavailable: Dagster does not answer.
    """
    cursor: str | None = None
    while True:
        page = dagster.read_log(run_id, cursor, MAXIMUM_LOG_PAGE)
        yield page
        if not page.has_more:
            return
        cursor = page.cursor


def read_log(
    run: Run, caller: Caller, dagster: DagsterClient, cursor: str | None, limit: int
) -> RunLog:
    """Returns a page of a run's log.

    Raises:
        NotFound: Dagster has no log of it, or says that it is another org's.
        Unavailable: Dagster does not answer.
    """
    require_own(run, caller, dagster)
    page = dagster.read_log(run.id, cursor, limit)
    return RunLog(
        data=results.log_lines(page.events), next_cursor=page.cursor, has_more=page.has_more
    )


def cancel_run(session: Session, caller: Caller, run: Run, dagster: DagsterClient) -> None:
    """Asks for the end of a run.

    Raises:
        NotFound: Dagster does not have it, or says that it is another org's.
        InvalidState: It has ended.
        Unavailable: Dagster does not answer.
    """
    require_own(run, caller, dagster)
    dagster.terminate(run.id)
    # A run that has not started yet gets no credentials any more.
    revoke_run_tokens(session, caller.org_id, run.id)
    caller.audit(session).record("cancel", "run", run.id)


def require_own(run: Run, caller: Caller, dagster: DagsterClient) -> None:
    """Refuses a run that is another org's: its row says what somebody registered, its stamp whose it is.

    Raises:
        NotFound: Dagster does not have it, or says so.
        Unavailable: Dagster does not answer.
    """
    if dagster.find_run_of(caller.org, run.id) is None:
        raise NotFound(f"Dagster has no run '{run.id}'.")
