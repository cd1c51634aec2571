"""Reads, authorises and cancels runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.task_tokens.holders import RUN
from control_plane.access.task_tokens.service import MintedToken, mint_token, revoke_run_tokens
from control_plane.audit.service import Actor
from control_plane.core.errors import Forbidden, NotFound
from control_plane.core.vault import Vault
from control_plane.manifest.service import get_manifest
from control_plane.runs import results
from control_plane.runs.attribution import attribute, find_launch, record_run
from control_plane.runs.dagster import MAXIMUM_LOG_PAGE, DagsterClient, LogEvent
from control_plane.runs.models import Run, RunStatus, RunTrigger
from control_plane.runs.repository import RunRepository
from control_plane.runs.schemas import RunLog, RunStep, RunSummary, RunView
from control_plane.runs.status import ENDED
from datanika_manifest import selection
from datanika_manifest.code_location import CodeLocation

View = TypeVar("View", bound=RunSummary)


@dataclass(frozen=True)
class StartingRun:
    """A run that is about to start.

    Attributes:
        run_id: Dagster's.
        trigger: What started it, where it is not known already.
        manifest_sha256: The manifest that it was planned with.
        asset_keys: Its selection; None for everything, or for the assets of its schedule.
        checked_keys: The assets whose checks it selects.
        schedule: The schedule that launched it.
        launch_id: The launch of the API that it says it comes from.
    """

    run_id: str
    trigger: RunTrigger
    manifest_sha256: str
    asset_keys: list[list[str]] | None
    checked_keys: list[list[str]] | None = None
    schedule: str | None = None
    launch_id: str | None = None


def authorize_run(session: Session, org_id: int, actor: Actor, run: StartingRun) -> MintedToken:
    """Registers a run that is about to start and mints its token.

    Args:
        session: Inside the org.
        org_id: The org, as the run's origin says and not its tags.
        actor: In whose name it runs, where that is not known already.
        run: The run.

    Raises:
        NotFound: The org has no such manifest.
        Forbidden: The run has another org's id, or has ended.
    """
    manifest = get_manifest(session, org_id, run.manifest_sha256)
    asset_keys = _selection(manifest.location, run)
    runs = RunRepository(session, org_id)
    runs.insert_unless_there(
        id=run.run_id,
        trigger=run.trigger,
        actor_name=actor.name,
        targets=[],
        asset_keys=asset_keys,
        manifest_sha256=run.manifest_sha256,
    )
    row = runs.find(run.run_id)
    if row is None:
        raise Forbidden(f"The run {run.run_id} is not this organization's.")
    if row.status in ENDED:
        raise Forbidden(f"The run {run.run_id} has ended.")
    row.manifest_sha256 = run.manifest_sha256
    _attribute(session, row, actor, run)
    return mint_token(
        session,
        org_id,
        actor,
        purpose=RUN,
        connection_ids=selection.connection_ids(manifest.location, asset_keys, run.checked_keys),
        run_id=run.run_id,
    )


def _attribute(session: Session, row: Run, actor: Actor, run: StartingRun) -> None:
    launch = find_launch(session, row.org_id, row.id, run.launch_id)
    if launch is not None:
        attribute(session, row, launch)
    elif row.trigger != RunTrigger.API:
        # Reconciliation may have seen the run first, and knows nobody's name.
        row.trigger, row.actor_name = run.trigger, actor.name
        record_run(session, actor, row, {"trigger": run.trigger})


def _selection(location: CodeLocation, run: StartingRun) -> list[list[str]] | None:
    """Returns what a run may touch: a schedule's run names its assets through its schedule."""
    if run.asset_keys is not None or run.schedule is None:
        return run.asset_keys
    for schedule in location.schedules:
        if schedule.name == run.schedule:
            return [list(key) for key in schedule.asset_keys]
    raise Forbidden(f"The manifest of the run {run.run_id} has no schedule '{run.schedule}'.")


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
    events = read_whole_log(dagster, run.id)
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


def read_whole_log(dagster: DagsterClient, run_id: str) -> list[LogEvent]:
    """Returns every event of a run.

    Raises:
        NotFound: Dagster has no such run.
        Unavailable: Dagster does not answer.
    """
    events: list[LogEvent] = []
    cursor: str | None = None
    while True:
        page = dagster.read_log(run_id, cursor, MAXIMUM_LOG_PAGE)
        events.extend(page.events)
        if not page.has_more:
            return events
        cursor = page.cursor


def read_log(
    run: Run, caller: Caller, dagster: DagsterClient, cursor: str | None, limit: int
) -> RunLog:
    """Returns a page of a run's log.

    Raises:
        NotFound: Dagster has no log of it, or says that it is another org's.
        Unavailable: Dagster does not answer.
    """
    _require_own(run, caller, dagster)
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
    _require_own(run, caller, dagster)
    dagster.terminate(run.id)
    # A run that has not started yet gets no credentials any more.
    revoke_run_tokens(session, caller.org_id, run.id)
    caller.audit(session).record("cancel", "run", run.id)


def _require_own(run: Run, caller: Caller, dagster: DagsterClient) -> None:
    # A row says what somebody registered; the stamp says where the run came from.
    if dagster.find_run_of(caller.org, run.id) is None:
        raise NotFound(f"Dagster has no run '{run.id}'.")
