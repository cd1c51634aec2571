"""What the API takes and gives for password resets."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.access.users.email_address import Email


class ResetRequest(BaseModel):
    """Whose password is to be set anew."""

    model_config = ConfigDict(extra="forbid")

    email: Email


class ResetRequested(BaseModel):
    """The same answer for every address."""

    detail: str = (
        "If this address has an account and this platform sends mail, a link is on its way."
    )


class ResetRedemption(BaseModel):
    """A link's token and the new password."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr = Field(max_length=200)
    new_password: SecretStr = Field(description="10 characters at least, 72 bytes at most.")


class ResetLinkView(BaseModel):
    """A link, shown once."""

    link: str = Field(description="Give it to the person; it can be used once.")
    expires_at: datetime
