"""What the API takes and gives for platform operators."""

from pydantic import BaseModel, ConfigDict

from control_plane.access.sign_in.schemas import UserView
from control_plane.access.users.email_address import Email


class OperatorCreate(BaseModel):
    """The user who becomes a platform operator."""

    model_config = ConfigDict(extra="forbid")

    email: Email


class Operators(BaseModel):
    """Every platform operator."""

    data: list[UserView]
