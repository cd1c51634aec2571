"""What the API takes and gives for platform operators."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from control_plane.access.sign_in.schemas import UserView
from control_plane.access.users.email_address import Email


class OperatorCreate(BaseModel):
    """The user who becomes a platform operator."""

    model_config = ConfigDict(extra="forbid")

    email: Email


class OperatorMade(UserView):
    """An operator; with a link where the e-mail address was never proven."""

    link: str | None = Field(
        description="Sets the person's new password, once; hand it over yourself. Whatever the "
        "account had before has ended, since nobody has proven the address. Null for a proven one."
    )
    link_expires_at: datetime | None


class Operators(BaseModel):
    """Every platform operator."""

    data: list[UserView]
