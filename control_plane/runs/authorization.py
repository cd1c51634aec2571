"""Registers runs that are about to start, and mints the tokens with which they get credentials.

A run that the platform starts works in the name of whoever launched it, as that person or key is
now; a schedule's is the org's own. A run from a shell works in the name of its API key.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from control_plane.access.task_tokens.holders import (
    RUN_PURPOSE,
    SHELL_RUN_PURPOSE,
    refuse_unless_entitled,
)
from control_plane.access.task_tokens.service import MintedToken, mint_token
from control_plane.audit.reading import is_recorded
from control_plane.audit.service import Actor
from control_plane.core.errors import Conflict, Forbidden
from control_plane.manifest.service import get_manifest
from control_plane.runs.attribution import actor_of_launch, attribute, find_launch, record_run
from control_plane.runs.models import LAUNCHED, Run, RunTrigger
from control_plane.runs.repository import RunRepository
from control_plane.runs.status import ENDED
from datanika_manifest import selection
from datanika_manifest.code_location import CodeLocation


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
    """Registers a run that the platform is about to start and mints its token.

    Args:
        session: Inside the org.
        org_id: The org, as the run's origin says and not its tags.
        actor: In whose name it runs, where no launch is known that it comes from.
        run: The run.

    Raises:
        NotFound: The org has no such manifest.
        Forbidden: The run has another org's id, or has ended, or whoever launched it may not any
            more.
    """
    registration = _Registration(session, org_id, run)
    row = registration.row(actor)
    launch = find_launch(session, org_id, row.id, run.launch_id)
    holder = actor if launch is None else actor_of_launch(launch)
    refuse_unless_entitled(session, org_id, holder, RUN_PURPOSE)
    if launch is not None:
        attribute(session, row, launch)
    elif row.trigger not in LAUNCHED:
        # Reconciliation may have seen the run first, and knows nobody's name.
        row.trigger, row.actor_name = run.trigger, actor.name
        record_run(session, actor, row, {"trigger": run.trigger})
    return registration.mint(row, holder, RUN_PURPOSE)


def authorize_shell_run(
    session: Session, org_id: int, actor: Actor, run: StartingRun
) -> MintedToken:
    """Registers a run from a shell and mints its token.

    Args:
        session: Inside the org.
        org_id: The org.
        actor: The API key.
        run: The run; its id is the shell's own choice.

    Raises:
        NotFound: The org has no such manifest.
        Forbidden: The run has another org's id, or has ended.
        Conflict: There is a run with that id which this key did not start.
    """
    registration = _Registration(session, org_id, run)
    row = registration.row(actor)
    _refuse_others(session, row, actor)
    row.actor_name = actor.name
    record_run(session, actor, row, {"trigger": RunTrigger.SHELL})
    return registration.mint(row, actor, SHELL_RUN_PURPOSE)


class _Registration:
    """What both kinds of runs have in common: a manifest, a selection, a row and a token."""

    def __init__(self, session: Session, org_id: int, run: StartingRun) -> None:
        self._session = session
        self._org_id = org_id
        self._run = run
        self._location = get_manifest(session, org_id, run.manifest_sha256).location
        self._asset_keys = _selection(self._location, run)

    def row(self, actor: Actor) -> Run:
        """Returns the run's row, locked; there is one from now on."""
        run = self._run
        runs = RunRepository(self._session, self._org_id)
        runs.insert_unless_there(
            id=run.run_id,
            trigger=run.trigger,
            actor_name=actor.name,
            targets=[],
            asset_keys=self._asset_keys,
            manifest_sha256=run.manifest_sha256,
        )
        row = runs.lock(run.run_id)
        if row is None:
            raise Forbidden(f"The run {run.run_id} is not this organization's.")
        if row.status in ENDED:
            raise Forbidden(f"The run {run.run_id} has ended.")
        if row.asset_keys is None:
            # Reconciliation may have seen a schedule's run first, and knows no selection.
            row.asset_keys = self._asset_keys
        return row

    def mint(self, row: Run, holder: Actor, purpose: str) -> MintedToken:
        """Notes the manifest and returns a token for the connections of the selection."""
        row.manifest_sha256 = self._run.manifest_sha256
        return mint_token(
            self._session,
            self._org_id,
            holder,
            purpose=purpose,
            connection_ids=selection.connection_ids(
                self._location, self._asset_keys, self._run.checked_keys
            ),
            run_id=row.id,
        )


def _refuse_others(session: Session, row: Run, actor: Actor) -> None:
    """Refuses a run that somebody else has started; reconciliation's rows are nobody's yet."""

    def is_started(by: Actor | None) -> bool:
        return is_recorded(session, row.org_id, "run", "run", row.id, by=by)

    is_own = row.trigger == RunTrigger.SHELL and (is_started(actor) or not is_started(None))
    if not is_own:
        raise Conflict(f"There is a run '{row.id}' already, which this API key did not start.")


def _selection(location: CodeLocation, run: StartingRun) -> list[list[str]] | None:
    """Returns what a run may touch: a schedule's run names its assets through its schedule."""
    if run.asset_keys is not None or run.schedule is None:
        return run.asset_keys
    for schedule in location.schedules:
        if schedule.name == run.schedule:
            return [list(key) for key in schedule.asset_keys]
    raise Forbidden(f"The manifest of the run {run.run_id} has no schedule '{run.schedule}'.")
