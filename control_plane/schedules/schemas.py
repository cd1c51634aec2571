"""What the API takes and gives for schedules."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from control_plane.core.cron_fields import Cron, Timezone
from control_plane.core.etags import VersionedView
from control_plane.targets.service import TargetType


class ScheduleCreate(BaseModel):
    """A new schedule."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=200)
    cron: Cron = Field(description="Five fields, or an alias such as `@daily`.")
    timezone: Timezone = Field(default="UTC", description="An IANA time zone.")
    target_type: TargetType = Field(description="What is launched.")
    target_id: int
    is_active: bool = Field(default=True, description="Whether it ticks.")


class ScheduleUpdate(BaseModel):
    """What changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=200)
    cron: Cron | None = None
    timezone: Timezone | None = None
    target_type: TargetType | None = None
    target_id: int | None = None
    is_active: bool | None = None


class ScheduleView(VersionedView):
    """A schedule."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str | None
    cron: str
    timezone: str
    target_type: TargetType
    target_id: int
    is_active: bool
    created_at: datetime
    updated_at: datetime


class NextTicks(BaseModel):
    """When a schedule ticks next, were it active."""

    timezone: str
    is_active: bool
    ticks: list[datetime] = Field(description="In the schedule's time zone.")
