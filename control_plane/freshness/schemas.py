"""What the API takes and gives for freshness policies."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from control_plane.core.cron_fields import Cron, Timezone
from control_plane.core.etags import VersionedView
from control_plane.targets.service import TargetType
from datanika_manifest.transformations import TestSeverity

MINIMUM_AGE_SECONDS = 60  # Dagster's smallest window
MAXIMUM_AGE_SECONDS = 10 * 366 * 24 * 3600


class StaleReaction(StrEnum):
    """What happens when the asset is not fresh any more; persisted, append-only."""

    NONE = "none"
    LAUNCH = "launch"
    ALERT = "alert"


MaximumLaunches = Annotated[
    int,
    Field(ge=1, le=100, description="How often it is launched until the asset is fresh again."),
]


class FreshnessPolicyCreate(BaseModel):
    """A new policy; exactly one of the two limits is given."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    target_type: TargetType = Field(description="An upload or a transformation.")
    target_id: int
    table_name: str | None = Field(
        default=None,
        alias="table",
        max_length=128,
        description="One table of the upload; left out: all of them.",
    )
    max_age_seconds: int | None = Field(
        default=None,
        ge=MINIMUM_AGE_SECONDS,
        le=MAXIMUM_AGE_SECONDS,
        description="How old the asset may become.",
    )
    deadline_cron: Cron | None = Field(
        default=None, description="When the asset must have been made anew."
    )
    timezone: Timezone = Field(default="UTC", description="In which `deadline_cron` is read.")
    severity: TestSeverity = Field(
        default=TestSeverity.WARN, description="What a stale asset means."
    )
    reaction: StaleReaction = Field(
        default=StaleReaction.NONE,
        description="What follows: nothing, a launch of the target, or an alert.",
    )
    maximum_launches: MaximumLaunches = 3


class FreshnessPolicyUpdate(BaseModel):
    """What changes; what is left out stays. Giving one limit removes the other."""

    model_config = ConfigDict(extra="forbid")

    max_age_seconds: int | None = Field(
        default=None, ge=MINIMUM_AGE_SECONDS, le=MAXIMUM_AGE_SECONDS
    )
    deadline_cron: Cron | None = None
    timezone: Timezone | None = None
    severity: TestSeverity | None = None
    reaction: StaleReaction | None = None
    maximum_launches: MaximumLaunches | None = None


class FreshnessPolicyView(VersionedView):
    """A policy."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    id: int
    target_type: TargetType
    target_id: int
    table_name: str | None = Field(alias="table")
    max_age_seconds: int | None
    deadline_cron: str | None
    timezone: str
    severity: TestSeverity
    reaction: StaleReaction
    maximum_launches: int
    created_at: datetime
    updated_at: datetime
