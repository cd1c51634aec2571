"""Launches runs: first the wish is committed, then Dagster is asked, then the run is recorded.

A crash in between loses nothing: the run carries the launch's id as a tag, by which reconciliation
or the next request with the same key completes the record.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.caller import Caller
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError, InvalidState
from control_plane.manifest.errors import NotPublished
from control_plane.manifest.service import get_current_manifest
from control_plane.runs.attribution import record_run
from control_plane.runs.dagster import (
    DagsterClient,
    LaunchOutcomeUnknown,
    NothingFailed,
    NotLoaded,
)
from control_plane.runs.errors import IdempotencyKeyReused, LaunchInProgress
from control_plane.runs.models import Launch, Run, RunStatus, RunTrigger
from control_plane.runs.repository import LaunchRepository, RunRepository
from control_plane.runs.schemas import RunTarget
from control_plane.runs.status import ENDED
from datanika_manifest import selection
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import AssetKey

LOAD_TIMEOUT_SECONDS: Final = 30.0
# Longer than waiting for the definitions and asking Dagster can take together.
LAUNCH_TIMEOUT: Final = timedelta(seconds=60)
LOAD_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class _Wish:
    """A committed launch and what it selects."""

    launch_id: int
    sha256: str
    asset_keys: list[AssetKey]
    targets: list[Any]


class RunLauncher:
    """Launches runs for one caller.

    Args:
        factory: Makes the transactions before and after Dagster is asked.
        dagster: The adapter to Dagster.
        caller: In whose name.
        trigger: Why.
        load_timeout_seconds: How long a launch waits for what was published a moment ago.
    """

    def __init__(
        self,
        factory: sessionmaker[Session],
        dagster: DagsterClient,
        caller: Caller,
        trigger: RunTrigger = RunTrigger.API,
        load_timeout_seconds: float = LOAD_TIMEOUT_SECONDS,
    ) -> None:
        self._factory = factory
        self._dagster = dagster
        self._caller = caller
        self._trigger = trigger
        self._load_timeout_seconds = load_timeout_seconds

    def launch(
        self, targets: Sequence[RunTarget], idempotency_key: str | None, priority: int = 0
    ) -> Run:
        """Launches a run of `targets`, or of everything where there are none.

        Args:
            targets: What is to run.
            idempotency_key: The same key leads to one run, however often it is sent.
            priority: Among the org's own queued runs.

        Raises:
            QuotaExceeded: The org has started as many runs within the hour as it may.
            NotPublished: A target is not in the current manifest.
            NotLoaded: Dagster did not load that manifest in time.
            LaunchInProgress: Another request with the key is at it.
            IdempotencyKeyReused: The key was used for other targets.
            Unavailable: Dagster does not answer.
        """
        body = [target.model_dump() for target in targets]
        wish = self._record_wish(
            [body, priority],
            body,
            lambda location: select_assets(location, body),
            idempotency_key,
        )
        if isinstance(wish, Run):
            return wish
        return self._start(
            wish,
            lambda: self._dagster.launch(
                self._caller.org, wish.asset_keys, wish.launch_id, priority
            ),
        )

    def retry(self, run: Run, *, from_failure: bool, idempotency_key: str | None) -> Run:
        """Does a run again, with what is published now.

        Args:
            run: One that has ended.
            from_failure: Only what failed and what comes after it; else all of it.
            idempotency_key: The same key leads to one run, however often it is sent.

        Raises:
            InvalidState: It has not ended, or nothing of it failed.
        """
        _require_retryable(run, from_failure=from_failure)
        wish = self._record_wish(
            ["retry", run.id, from_failure],
            run.targets,
            lambda location: _still_defined(location, run.asset_keys),
            idempotency_key,
        )
        if isinstance(wish, Run):
            return wish
        return self._start(
            wish,
            lambda: self._dagster.retry(run.id, wish.launch_id, from_failure=from_failure),
        )

    def _start(self, wish: "_Wish", start: Callable[[], str]) -> Run:
        try:
            wait_until_loaded(
                self._dagster, self._caller.org, wish.sha256, self._load_timeout_seconds
            )
            run_id = start()
        except LaunchOutcomeUnknown:
            # It may have started: the wish stays, so that the key cannot start another one.
            raise
        except DatanikaError:
            self._withdraw(wish.launch_id)
            raise
        return self._record_run(run_id, wish)

    def _record_wish(
        self,
        wanted: list[Any],
        targets: list[Any],
        select: Callable[[CodeLocation], list[AssetKey]],
        idempotency_key: str | None,
    ) -> "_Wish | Run":
        body_sha256 = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        with transaction(self._factory, self._caller.org_id) as session:
            launches = LaunchRepository(session, self._caller.org_id)
            if idempotency_key is not None:
                earlier = launches.find_by_key(idempotency_key)
                if earlier is not None and not self._came_to_nothing(earlier):
                    return self._run_of(session, earlier, body_sha256)
                if earlier is not None:
                    launches.delete(earlier)
            manifest = get_current_manifest(session, self._caller.org_id)
            asset_keys = select(manifest.location)
            launch = Launch(
                org_id=self._caller.org_id,
                idempotency_key=idempotency_key,
                body_sha256=body_sha256,
                targets=targets,
                trigger=self._trigger,
                actor_kind=self._caller.actor.kind,
                actor_id=self._caller.actor.id,
                actor_name=self._caller.actor.name,
                ip_address=self._caller.actor.ip_address,
                request_id=self._caller.actor.request_id,
            )
            try:
                with session.begin_nested():
                    launches.add(launch)
            except IntegrityError:
                raise LaunchInProgress("A launch with this Idempotency-Key is going on.") from None
            return _Wish(launch.id, manifest.sha256, asset_keys, targets)

    def _run_of(self, session: Session, launch: Launch, body_sha256: str) -> Run:
        if launch.body_sha256 != body_sha256:
            raise IdempotencyKeyReused("This Idempotency-Key was used with another body.")
        run = None
        if launch.run_id is not None:
            run = RunRepository(session, self._caller.org_id).find(launch.run_id)
        if run is None:
            raise LaunchInProgress("A launch with this Idempotency-Key is going on.")
        return run

    def _came_to_nothing(self, launch: Launch) -> bool:
        """Tells whether a process died between the wish and Dagster."""
        age = utc_now() - launch.created_at
        if launch.run_id is not None or age < LAUNCH_TIMEOUT:
            return False
        return self._dagster.find_launched(launch.id) is None

    def _withdraw(self, launch_id: int) -> None:
        with transaction(self._factory, self._caller.org_id) as session:
            launches = LaunchRepository(session, self._caller.org_id)
            launches.delete(launches.get(launch_id))

    def _record_run(self, run_id: str, wish: _Wish) -> Run:
        with transaction(self._factory, self._caller.org_id) as session:
            runs = RunRepository(session, self._caller.org_id)
            values = {
                "trigger": self._trigger,
                "actor_name": self._caller.actor.name,
                "targets": wish.targets,
                "asset_keys": [list(key) for key in wish.asset_keys],
                "manifest_sha256": wish.sha256,
            }
            # The launcher may have authorised the run already: then the row is there.
            runs.insert_unless_there(id=run_id, **values)
            runs.update(run_id, **values)
            launch = LaunchRepository(session, self._caller.org_id).get(wish.launch_id)
            launch.run_id = run_id
            run = runs.get(run_id)
            new = {"trigger": self._trigger, "targets": wish.targets}
            record_run(session, self._caller.actor, run, new)
            session.flush()
            return run


def note_ui_launch(session: Session, caller: Caller) -> Launch:
    """Notes that somebody launches a run in the Dagster UI, which carries the launch's id.

    Args:
        session: Inside the org.
        caller: Who launches.
    """
    launch = Launch(
        org_id=caller.org_id,
        body_sha256="",
        targets=[],
        trigger=RunTrigger.UI,
        actor_kind=caller.actor.kind,
        actor_id=caller.actor.id,
        actor_name=caller.actor.name,
        ip_address=caller.actor.ip_address,
        request_id=caller.actor.request_id,
    )
    return LaunchRepository(session, caller.org_id).add(launch)


def _require_retryable(run: Run, *, from_failure: bool) -> None:
    """Refuses to do again what goes on, or what has nothing that failed."""
    if run.status not in ENDED:
        raise InvalidState(f"The run is {run.status}; only one that has ended can be retried.")
    if from_failure and run.status == RunStatus.SUCCESS:
        raise NothingFailed("Nothing of the run failed; retry all of it instead.")


def _still_defined(location: CodeLocation, asset_keys: list[Any] | None) -> list[AssetKey]:
    """Returns those of a run's assets that are published now; all where it was of all.

    Raises:
        NotPublished: None of them is.
    """
    published = selection.all_asset_keys(location)
    wanted = None if asset_keys is None else {tuple(key) for key in asset_keys}
    found = [key for key in published if wanted is None or tuple(key) in wanted]
    if not found:
        raise NotPublished("Nothing of what the run made is published any more.")
    return found


def select_assets(location: CodeLocation, targets: Sequence[dict[str, Any]]) -> list[AssetKey]:
    """Returns the assets of the targets, or all where there are none.

    Raises:
        NotPublished: A target, or anything at all, is not in the manifest.
    """
    if not targets:
        keys = selection.all_asset_keys(location)
        if not keys:
            raise NotPublished("Nothing is published; create something, then publish.")
        return keys
    found: list[AssetKey] = []
    for target in targets:
        keys = selection.target_asset_keys(location, target["type"], target["id"])
        if not keys:
            raise NotPublished(
                f"The {target['type']} {target['id']} is not in the published manifest; "
                "publish first."
            )
        found.extend(key for key in keys if key not in found)
    return found


def wait_until_loaded(
    dagster: DagsterClient, org: str, sha256: str, timeout_seconds: float = LOAD_TIMEOUT_SECONDS
) -> None:
    """Waits until Dagster has loaded the manifest that was published a moment ago.

    Raises:
        NotLoaded: It has not, in time.
        Unavailable: Dagster does not answer.
    """
    deadline = time.monotonic() + timeout_seconds
    while dagster.loaded_manifests().get(org) != sha256:
        if time.monotonic() > deadline:
            raise NotLoaded(
                f"Dagster has not loaded the manifest {sha256[:12]} within "
                f"{timeout_seconds:.0f} seconds; see `datanika status`."
            )
        time.sleep(LOAD_POLL_SECONDS)
