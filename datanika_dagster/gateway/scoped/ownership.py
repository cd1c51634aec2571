"""What belongs to an org in the one Dagster instance of all.

Runs, backfills and snapshots are looked up in the tables that the run storage writes with them
(`row_security/owners.py`); assets, pools and partitions have the org in their names, schedules and
sensors in the code location they come from. Tags are never asked: whoever launches a run writes them.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any, Final

import sqlalchemy as db
from dagster import AssetKey
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.selector import InstigatorSelector, RepositorySelector
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._serdes import create_snapshot_id

from datanika_dagster.row_security.owners import (
    BACKFILLS_OF,
    OWN_SNAPSHOT,
    RUNS_OF,
    SNAPSHOTS_OF,
)
from datanika_dagster.storage import StampingRunStorage
from datanika_manifest.names import SEPARATOR, location_name

_MOST_REMEMBERED: Final = 20_000


class Kind(Enum):
    """What an argument of a storage's method names."""

    RUN = "run"
    ASSET = "asset"
    """An asset's key, or what has one as `asset_key`: a check's key, a filter."""

    NAME = "name"
    """A pool, or a definition of dynamic partitions: its name begins with the org's."""


class Ownership:
    """Tells what is an org's; all who work in the org share one.

    Args:
        storage: Of runs, with the rights of the tables' owner.
        org: The org's slug.
    """

    def __init__(self, storage: StampingRunStorage, org: str) -> None:
        self._storage = storage
        self.org = org
        self.location = location_name(org)
        self._runs = _Remembered()
        self._snapshots = _Remembered()
        self._tests: Mapping[Kind, Callable[[Any], bool]] = {
            Kind.RUN: self.has_run,
            Kind.ASSET: self.has_asset,
            Kind.NAME: self.has_name,
        }

    @cached_property
    def name_prefix(self) -> str:
        """What the names of the org's pools and partitions begin with, and no other org's do."""
        return f"{self.org}{SEPARATOR}"

    @cached_property
    def repository_selector_id(self) -> str:
        """Dagster's id of the repository in the org's code location."""
        return create_snapshot_id(
            RepositorySelector(
                location_name=self.location, repository_name=SINGLETON_REPOSITORY_NAME
            )
        )

    def has(self, kind: Kind, named: Any) -> bool:
        """Tells whether what an argument names is the org's."""
        return self._tests[kind](named)

    def has_run(self, run_id: object) -> bool:
        """Tells whether a run is the org's."""
        return isinstance(run_id, str) and run_id in self.runs_among({run_id})

    def runs_among(self, run_ids: Collection[str]) -> set[str]:
        """Returns which of the runs are the org's."""
        return self._among(self._runs, RUNS_OF, run_ids)

    def has_backfill(self, backfill_id: str) -> bool:
        """Tells whether a backfill is the org's."""
        return bool(self._storage.owned(BACKFILLS_OF, {backfill_id}, self.org))

    def has_snapshot(self, snapshot_id: str) -> bool:
        """Tells whether one of the org's runs was planned with a snapshot."""
        return bool(self._among(self._snapshots, SNAPSHOTS_OF, {snapshot_id}))

    def take_snapshot(self, snapshot_id: str) -> None:
        """Makes a snapshot the org's: it had its content, by which snapshots are named."""
        if not self.has_snapshot(snapshot_id):
            with self._storage.connect() as connection:
                owned = {"snapshot_id": snapshot_id, "org": self.org}
                connection.execute(db.text(OWN_SNAPSHOT), owned)

    def has_asset(self, named: object) -> bool:
        """Tells whether an asset, a check or a filter by asset is the org's."""
        key = getattr(named, "asset_key", named)
        return isinstance(key, AssetKey) and len(key.path) > 1 and key.path[0] == self.org

    def has_name(self, name: object) -> bool:
        """Tells whether a pool or a definition of partitions is the org's."""
        return isinstance(name, str) and name.startswith(self.name_prefix)

    def has_instigator(self, origin: RemoteInstigatorOrigin) -> bool:
        """Tells whether a schedule or a sensor is in the org's code location."""
        repository = origin.repository_origin
        return (
            repository.code_location_origin.location_name == self.location
            and repository.repository_name == SINGLETON_REPOSITORY_NAME
        )

    def has_tick(self, tick: InstigatorTick) -> bool:
        """Tells whether a tick is of one of the org's schedules and sensors.

        Its selector is a digest of code location and name, so the name alone proves it.
        """
        return tick.selector_id == _selector_id(self.location, tick.instigator_name)

    def _among(self, known: "_Remembered", question: str, ids: Collection[str]) -> set[str]:
        found = known.among(ids)
        unknown = set(ids) - found
        if unknown:
            new = self._storage.owned(question, unknown, self.org)
            known.add(new)
            found |= new
        return found


class _Remembered:
    """Ids that were found to be the org's, which they are for ever; so many at most."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._lock = threading.Lock()

    def among(self, ids: Collection[str]) -> set[str]:
        with self._lock:
            return self._ids.intersection(ids)

    def add(self, ids: Collection[str]) -> None:
        with self._lock:
            if len(self._ids) + len(ids) > _MOST_REMEMBERED:
                self._ids.clear()
            self._ids.update(ids)


@lru_cache(maxsize=10_000)
def _selector_id(location: str, name: str) -> str:
    return InstigatorSelector(
        location_name=location, repository_name=SINGLETON_REPOSITORY_NAME, name=name
    ).get_id()
