"""What the API takes and gives for invitations."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.access.permissions import Role
from control_plane.access.users.email_address import Email


class InvitationCreate(BaseModel):
    """Who is invited, as what."""

    model_config = ConfigDict(extra="forbid")

    email: Email
    role: Role = Field(description="viewer, editor, admin or owner; only owners invite owners.")


class InvitationView(BaseModel):
    """An invitation that nobody has accepted yet."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    role: Role
    created_at: datetime
    expires_at: datetime = Field(description="Renewing gives it another week and another link.")
    mailed_at: datetime | None = Field(description="When the link was mailed.")


class InvitationIssued(InvitationView):
    """An invitation with its new link."""

    link: str | None = Field(
        description="To be handed on, shown in this answer only; null where the platform mails it."
    )


class InvitationToken(BaseModel):
    """The token of an invitation's link."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr = Field(description="What stands behind `#token=` in the link.")


class InvitationShown(BaseModel):
    """What an invitation offers."""

    org: str
    org_name: str
    email: str
    role: Role
    has_account: bool = Field(description="Whether the address has an account, to sign in with.")
    is_email_verified: bool = Field(
        description="Whether the address counts as its owner's once this is accepted: the link was "
        "mailed, or the account's address was verified before."
    )


class InvitationAccept(InvitationToken):
    """The token, and a password where an account is to be made."""

    password: SecretStr | None = Field(
        default=None,
        description="For an address without an account: 10 characters at least, 72 bytes at most.",
    )
