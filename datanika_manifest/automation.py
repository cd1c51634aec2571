"""When targets run without a person: schedules, and what freshness is promised."""

from pydantic import Field

from datanika_manifest.base import Frozen
from datanika_manifest.names import AssetKey, Slug
from datanika_manifest.transformations import TestSeverity


class Schedule(Frozen):
    """Launches its assets by cron."""

    id: int
    name: Slug
    cron: str
    timezone: str
    is_active: bool
    asset_keys: tuple[AssetKey, ...] = Field(min_length=1)


class FreshnessPolicy(Frozen):
    """How old an asset may become; exactly one of the two limits is set."""

    asset_key: AssetKey
    max_age_seconds: int | None = Field(default=None, ge=60)
    deadline_cron: str | None = None
    timezone: str = "UTC"
    severity: TestSeverity
