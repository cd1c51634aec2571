"""What the API takes and gives for dependencies."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from control_plane.core.etags import VersionedView
from control_plane.targets.service import TargetType


class DependencyCreate(BaseModel):
    """A new edge."""

    model_config = ConfigDict(extra="forbid")

    upstream_type: TargetType = Field(description="What runs first.")
    upstream_id: int
    downstream_type: TargetType = Field(description="What runs after it.")
    downstream_id: int


class DependencyView(VersionedView):
    """An edge."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    upstream_type: TargetType
    upstream_id: int
    downstream_type: TargetType
    downstream_id: int
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
