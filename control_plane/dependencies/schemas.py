"""What the API takes and gives for dependencies."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from control_plane.core.etags import VersionedView
from control_plane.targets.service import TargetType

FreshWithin = Annotated[
    int | None,
    Field(
        ge=1,
        le=366 * 24 * 3600,
        description="Launch only where every upstream target of such edges has succeeded within so "
        "many seconds; null: without that condition.",
    ),
]


class DependencyCreate(BaseModel):
    """A new edge."""

    model_config = ConfigDict(extra="forbid")

    upstream_type: TargetType = Field(description="What runs first.")
    upstream_id: int
    downstream_type: TargetType = Field(description="What runs after it.")
    downstream_id: int
    runs_after_success: bool = Field(
        default=False,
        description="Launch the downstream target after each success of the upstream one.",
    )
    fresh_within_seconds: FreshWithin = None


class DependencyUpdate(BaseModel):
    """What changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    runs_after_success: bool | None = None
    fresh_within_seconds: FreshWithin = None


class DependencyView(VersionedView):
    """An edge."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    upstream_type: TargetType
    upstream_id: int
    downstream_type: TargetType
    downstream_id: int
    runs_after_success: bool
    fresh_within_seconds: int | None
    created_at: datetime
    updated_at: datetime


class TargetView(BaseModel):
    """A target by type and id."""

    model_config = ConfigDict(from_attributes=True)

    type: TargetType
    id: int


class Neighbours(BaseModel):
    """Everything that runs before and after a target, by declared edges, however far away."""

    upstream: list[TargetView]
    downstream: list[TargetView]
