"""What the API takes and gives for members."""

from pydantic import BaseModel, ConfigDict, Field

from control_plane.access.permissions import Role
from control_plane.core.etags import VersionedView


class MemberView(VersionedView):
    """A member and their role."""

    user_id: int
    email: str
    role: Role


class MemberUpdate(BaseModel):
    """Another role for a member."""

    model_config = ConfigDict(extra="forbid")

    role: Role = Field(description="viewer, editor, admin or owner; only owners make owners.")
