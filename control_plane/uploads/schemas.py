"""What the API takes and gives for uploads."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from control_plane.core.etags import VersionedView


class UploadCreate(BaseModel):
    """A new upload."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=200, description="Unique in the organization.")
    source_connection_id: int = Field(description="The connection that is read.")
    destination_connection_id: int = Field(description="The connection that is loaded into.")
    config: dict[str, Any] = Field(
        description="What is loaded and how; the keys are those of `UploadConfig`."
    )


class UploadUpdate(BaseModel):
    """What changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str | None = Field(default=None, min_length=1, max_length=200)
    source_connection_id: int | None = None
    destination_connection_id: int | None = None
    config: dict[str, Any] | None = Field(
        default=None,
        description=(
            "With `mode`: the whole new configuration. Without: the keys to replace (null "
            "removes one); the others stay."
        ),
    )


class UploadView(VersionedView):
    """An upload."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    slug: str
    name: str
    source_connection_id: int
    destination_connection_id: int
    config: dict[str, Any]
    created_at: datetime
    updated_at: datetime
