"""What the API takes and gives when operators work on organizations."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from control_plane.access.invitations.schemas import InvitationIssued
from control_plane.access.orgs.schemas import OrgName
from control_plane.access.users.email_address import Email


class PlatformOrgView(BaseModel):
    """An organization from outside: that it is there, and nothing that is inside."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    slug: str
    name: str
    is_suspended: bool
    created_at: datetime
    deleted_at: datetime | None
    parallel_runs: int | None = Field(description="Its own quota; null: the platform's.")
    runs_per_hour: int | None = Field(description="Its own quota; null: the platform's.")


class OrgQuota(BaseModel):
    """What an organization may run; null: as much as the platform's settings say."""

    model_config = ConfigDict(extra="forbid")

    parallel_runs: int | None = Field(ge=0, le=1000, description="Runs at the same time.")
    runs_per_hour: int | None = Field(
        ge=0, le=1_000_000, description="Runs that start within any hour."
    )


class PlatformOrgCreate(BaseModel):
    """A new organization, and who is invited to own it."""

    model_config = ConfigDict(extra="forbid")

    name: OrgName = Field(description="The organization's name.")
    owner_email: Email


class PlatformOrgCreated(PlatformOrgView):
    """A new organization, with the invitation of its owner."""

    invitation: InvitationIssued
