"""Which reactions stale assets call for: a launch of what makes them, again where it failed, or an alert.

What is stale since the same time is one episode: it has so many launches at most, and ends when something
is made anew. Dagster's freshness daemon says what is stale; nothing in here computes an age.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError
from control_plane.freshness.models import FreshnessPolicy
from control_plane.freshness.schemas import StaleReaction
from control_plane.freshness.service import list_policies, watched_assets
from control_plane.manifest.errors import NotPublished
from control_plane.manifest.service import get_current_manifest
from control_plane.reactions.models import Cause, Reaction, ReactionState
from control_plane.reactions.repository import ReactionRepository
from control_plane.runs.dagster import DagsterClient
from control_plane.runs.freshness import AssetFreshness, read_freshness
from control_plane.runs.models import Run
from control_plane.runs.service import find_run, list_open
from control_plane.runs.status import ENDED
from control_plane.tenancy.service import list_active_orgs
from datanika_manifest import selection
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import AssetKey

_LOGGER = logging.getLogger(__name__)
LOOK_SECONDS: Final = 10.0
FIRST_PAUSE: Final = timedelta(minutes=1)
"""After a launch that did not make it fresh; twice as long after each further one."""
LONGEST_PAUSE: Final = timedelta(hours=1)
_MOST_OPEN_RUNS: Final = 200


@dataclass(frozen=True)
class _Watched:
    """What of an org is to be reacted to."""

    location: CodeLocation
    policies: dict[int, FreshnessPolicy]
    policy_of: dict[AssetKey, int]


class StalenessWatch:
    """Looks, every ten seconds, at what orgs want to be reacted to.

    Args:
        factory: Makes the transactions.
        dagster: The adapter to Dagster.
        note: Called with an org for which something is to be launched.
    """

    def __init__(
        self, factory: sessionmaker[Session], dagster: DagsterClient, note: Callable[[int], None]
    ) -> None:
        self._factory = factory
        self._dagster = dagster
        self._note = note
        self._next_look = 0.0

    def run_if_due(self) -> None:
        """Looks, where the last look is older than ten seconds."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self.run_once()

    def run_once(self) -> None:
        """Looks at each org; the trouble of one is not the others'."""
        with transaction(self._factory) as session:
            orgs = list_active_orgs(session)
        for org in orgs:
            try:
                self._look_at(org.id)
            except DatanikaError as error:
                _LOGGER.warning("freshness of org %s: %s", org.slug, error.detail)
            except Exception:
                _LOGGER.exception("freshness of org %s", org.slug)

    def _look_at(self, org_id: int) -> None:
        watched = self._watched(org_id)
        if watched is None:
            return
        overdue: dict[int, list[AssetFreshness]] = {}
        for asset in read_freshness(self._dagster, watched.policy_of):
            if asset.is_overdue:
                overdue.setdefault(watched.policy_of[asset.asset_key], []).append(asset)
        for policy_id, assets in overdue.items():
            with transaction(self._factory, org_id) as session:
                _Episode(session, watched, policy_id, assets).react()
            self._note(org_id)

    def _watched(self, org_id: int) -> _Watched | None:
        with transaction(self._factory, org_id) as session:
            rows = list_policies(session, org_id)
            if all(row.reaction == StaleReaction.NONE for row in rows):
                return None
            try:
                location = get_current_manifest(session, org_id).location
            except NotPublished:
                return None
            session.expunge_all()
        return _Watched(
            location,
            {row.id: row for row in rows},
            {
                key: row.id
                for key, row in watched_assets(rows, location).items()
                if row.reaction != StaleReaction.NONE
            },
        )


class _Episode:
    """What is stale by one policy, since the oldest of it was made."""

    def __init__(
        self, session: Session, watched: _Watched, policy_id: int, assets: Sequence[AssetFreshness]
    ) -> None:
        self._session = session
        self._location = watched.location
        self._policy = watched.policies[policy_id]
        self._tables = ", ".join(sorted(".".join(asset.asset_key[2:]) for asset in assets))
        self._name = f"{self._policy.target_type} {self._policy.target_id} since {_since(assets)}"
        self._reactions = ReactionRepository(session, self._policy.org_id)

    def react(self) -> None:
        """Records the next reaction, where it is time for one."""
        earlier = self._reactions.list_of(Cause.FRESHNESS, self._policy.id, f"{self._name} ")
        if self._policy.reaction == StaleReaction.ALERT:
            self._record("alert", ReactionState.ALERTED, f"Not fresh: {self._tables}.")
        elif earlier and not self._is_over(earlier[0], len(earlier)):
            return
        elif len(earlier) < self._policy.maximum_launches:
            if not self._is_being_made():
                self._record(f"launch {len(earlier) + 1}", ReactionState.PENDING, None)
        else:
            reason = f"Not fresh after {len(earlier)} launches: {self._tables}."
            self._record("given up", ReactionState.ALERTED, reason)

    def _record(self, what: str, state: ReactionState, reason: str | None) -> None:
        self._reactions.insert_unless_there(
            cause_type=Cause.FRESHNESS,
            cause_id=self._policy.id,
            occasion=f"{self._name} {what}",
            target_type=self._policy.target_type,
            target_id=self._policy.target_id,
            state=state,
            reason=reason,
        )

    def _is_over(self, reaction: Reaction, number: int) -> bool:
        """Tells whether a launch had its chance: it ended without effect, a while ago."""
        if reaction.state in (ReactionState.PENDING, ReactionState.ALERTED):
            return False
        ended_at = reaction.created_at
        if reaction.run_id is not None:
            run = find_run(self._session, reaction.org_id, reaction.run_id)
            if run is not None and run.status not in ENDED:
                return False
            ended_at = (run and run.ended_at) or ended_at
        pause = min(FIRST_PAUSE * 2 ** (number - 1), LONGEST_PAUSE)
        return utc_now() >= ended_at + pause

    def _is_being_made(self) -> bool:
        """Tells whether a run that has not ended makes the target anyway."""
        target = (self._policy.target_type, self._policy.target_id)
        wanted = set(selection.target_asset_keys(self._location, *target))
        runs = list_open(self._session, self._policy.org_id, _MOST_OPEN_RUNS)
        return any(_selects(run, wanted) for run in runs)


def _selects(run: Run, wanted: set[AssetKey]) -> bool:
    return run.asset_keys is None or wanted <= {tuple(key) for key in run.asset_keys}


def _since(assets: Iterable[AssetFreshness]) -> str:
    times: list[datetime] = [asset.last_loaded_at for asset in assets if asset.last_loaded_at]
    return min(times).isoformat(timespec="seconds") if times else "ever"
