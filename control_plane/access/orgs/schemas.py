"""What the API takes and gives for an organization."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from control_plane.access.permissions import Role
from control_plane.core.etags import VersionedView
from datanika_manifest.quotas import Quota

OrgName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\r\n]*$"),
]


class OrgProfile(VersionedView):
    """An organization, as one of its members sees it."""

    id: int
    slug: str
    name: str
    role: Role = Field(description="The caller's own; a key's creator's.")
    member_count: int
    is_suspended: bool
    quota: Quota = Field(description="What it may run; the platform's operators set it.")
    created_at: datetime


class OrgUpdate(BaseModel):
    """Another name; the slug stays what it is."""

    model_config = ConfigDict(extra="forbid")

    name: OrgName = Field(description="The organization's name.")
