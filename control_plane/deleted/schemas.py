"""What the API gives for deleted things."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class ResourceType(StrEnum):
    """The kinds of resources that can be restored; the audit log's names for them."""

    CONNECTION = "connection"
    UPLOAD = "upload"
    TRANSFORMATION = "transformation"
    DEPENDENCY = "dependency"
    SCHEDULE = "schedule"
    FRESHNESS_POLICY = "freshness_policy"


class DeletedView(BaseModel):
    """A deleted resource."""

    model_config = ConfigDict(from_attributes=True)

    resource_type: ResourceType
    id: int
    name: str = Field(description="Its name, or what it is about where it has none.")
    deleted_at: datetime
