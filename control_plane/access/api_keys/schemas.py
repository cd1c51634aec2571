"""What the API takes and gives for API keys."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from control_plane.access.permissions import Permission


class ApiKeyCreate(BaseModel):
    """A new key."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, description="What the key is for.")
    scopes: list[Permission] = Field(min_length=1, description="What the key may do.")
    expires_at: AwareDatetime | None = Field(
        default=None, description="When it stops working; never, when empty."
    )


class ApiKeyView(BaseModel):
    """A key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeyCreated(ApiKeyView):
    """A new key, with its secret: the only time that it is shown."""

    key: str
