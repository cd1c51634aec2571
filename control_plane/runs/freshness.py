"""How fresh assets are, as Dagster's freshness daemon has last found them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from control_plane.runs import queries
from control_plane.runs.dagster import DagsterClient
from datanika_manifest.names import AssetKey


class FreshnessState(StrEnum):
    """The public state of an asset with a policy."""

    FRESH = "fresh"
    WARN = "warn"
    STALE = "stale"
    UNKNOWN = "unknown"


_PUBLIC: Final = {
    "HEALTHY": FreshnessState.FRESH,
    "WARNING": FreshnessState.WARN,
    "DEGRADED": FreshnessState.STALE,
}


@dataclass(frozen=True)
class AssetFreshness:
    """How fresh an asset is.

    Attributes:
        state: Unknown where it was never made, not published yet, or not looked at yet.
        last_loaded_at: When it was last made.
    """

    asset_key: AssetKey
    state: FreshnessState
    last_loaded_at: datetime | None

    @property
    def is_overdue(self) -> bool:
        """Whether its policy does not hold."""
        return self.state in (FreshnessState.WARN, FreshnessState.STALE)


def read_freshness(dagster: DagsterClient, keys: Iterable[AssetKey]) -> list[AssetFreshness]:
    """Returns how fresh assets are, in the order of their keys.

    Raises:
        Unavailable: Dagster does not answer.
    """
    wanted = sorted(keys)
    if not wanted:
        return []
    variables = {"keys": [{"path": list(key)} for key in wanted]}
    nodes: list[dict[str, Any]] = dagster.ask("assetNodes", queries.FRESHNESS, variables)
    found: dict[tuple[str, ...], Any] = {
        tuple(node["assetKey"]["path"]): node["freshnessStatusInfo"] for node in nodes
    }
    return [_state(key, found.get(key)) for key in wanted]


def _state(key: AssetKey, said: Any) -> AssetFreshness:
    if said is None:
        return AssetFreshness(key, FreshnessState.UNKNOWN, None)
    loaded: dict[str, float | None] = said["freshnessStatusMetadata"] or {}
    seconds = loaded.get("lastMaterializedTimestamp")
    return AssetFreshness(
        asset_key=key,
        state=_PUBLIC.get(said["freshnessStatus"], FreshnessState.UNKNOWN),
        last_loaded_at=None if seconds is None else datetime.fromtimestamp(seconds, UTC),
    )
