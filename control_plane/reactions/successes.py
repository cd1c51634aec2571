"""Which reactions a run's success calls for: the targets behind edges that launch.

In the transaction that says that the run has succeeded, so each success counts once.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.core.clock import utc_now
from control_plane.core.errors import NotFound
from control_plane.dependencies.service import Trigger, list_triggers
from control_plane.manifest.service import get_manifest
from control_plane.reactions.models import Cause, ReactionState
from control_plane.reactions.repository import ReactionRepository
from control_plane.runs.models import Run
from control_plane.runs.service import list_successes
from control_plane.targets.service import TargetRef
from datanika_manifest import selection
from datanika_manifest.code_location import CodeLocation

MOST_RUNS = 1000
"""So many runs are looked at for an earlier success of another upstream target."""


def react_to_success(session: Session, run: Run) -> None:
    """Records what a run that has just succeeded is to launch.

    Args:
        session: Inside the run's org.
        run: Its row says that it has succeeded.
    """
    triggers = list_triggers(session, run.org_id)
    if not triggers:
        return
    made = _Made(session, run.org_id)
    for trigger in triggers:
        if _is_called_for(made, run, trigger):
            reason = _stale(made, run, trigger, triggers)
            ReactionRepository(session, run.org_id).insert_unless_there(
                cause_type=Cause.DEPENDENCY,
                cause_id=trigger.id,
                occasion=run.id,
                target_type=trigger.edge.downstream.type,
                target_id=trigger.edge.downstream.id,
                state=ReactionState.SKIPPED if reason else ReactionState.PENDING,
                reason=reason,
            )


class _Made:
    """Which targets runs have made, by the manifests that they ran with."""

    def __init__(self, session: Session, org_id: int) -> None:
        self._session = session
        self._org_id = org_id
        self._locations: dict[str, CodeLocation | None] = {}

    def has(self, run: Run, target: TargetRef) -> bool:
        """Tells whether a run selected everything that a target makes."""
        location = self._location(run.manifest_sha256 or "")
        if location is None:
            return False
        wanted = set(selection.target_asset_keys(location, target.type, target.id))
        if run.asset_keys is None:
            return bool(wanted)
        return bool(wanted) and wanted <= {tuple(key) for key in run.asset_keys}

    def any_has(self, target: TargetRef, ended_after: datetime) -> bool:
        """Tells whether a run that has succeeded since then made a target."""
        runs = list_successes(self._session, self._org_id, ended_after, MOST_RUNS)
        return any(self.has(run, target) for run in runs)

    def _location(self, sha256: str) -> CodeLocation | None:
        if sha256 not in self._locations:
            try:
                found = get_manifest(self._session, self._org_id, sha256).location
            except NotFound:
                found = None
            self._locations[sha256] = found
        return self._locations[sha256]


def _is_called_for(made: _Made, run: Run, trigger: Trigger) -> bool:
    if run.ended_at is None or run.ended_at < trigger.since:
        return False
    # Where one run makes both, the one has been made after the other already.
    return made.has(run, trigger.edge.upstream) and not made.has(run, trigger.edge.downstream)


def _stale(made: _Made, run: Run, trigger: Trigger, triggers: Iterable[Trigger]) -> str | None:
    """Returns why a launch would work with old data; None where it would not, or may."""
    if trigger.fresh_within is None or run.ended_at is None:
        return None
    if utc_now() - run.ended_at > trigger.fresh_within:
        return f"The success is older than {_seconds(trigger.fresh_within)}."
    upstream = {
        other.edge.upstream
        for other in triggers
        if other.edge.downstream == trigger.edge.downstream
        and other.edge.upstream != trigger.edge.upstream
    }
    oldest = run.ended_at - trigger.fresh_within
    stale = [str_of(ref) for ref in sorted(upstream) if not made.any_has(ref, oldest)]
    if not stale:
        return None
    return f"Not fresh within {_seconds(trigger.fresh_within)}: {', '.join(stale)}."


def str_of(ref: TargetRef) -> str:
    """Returns how messages call a target."""
    return f"{ref.type} {ref.id}"


def _seconds(length: timedelta) -> str:
    return f"{length.total_seconds():.0f} s"
