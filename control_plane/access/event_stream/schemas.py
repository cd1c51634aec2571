"""Events as a client sees them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class EventView(BaseModel):
    """Something that happened in the org."""

    id: int = Field(description="Rises within the org; reading goes on `after` it.")
    kind: str = Field(
        description="What happened, for example `run.failed`.", examples=["run.failed"]
    )
    subject: str = Field(description="To what: a run's id, for example.")
    payload: dict[str, Any] = Field(description="What is known of it; fields are only ever added.")
    created_at: datetime


class StreamStarted(BaseModel):
    """The first message of a stream."""

    kind: Literal["stream.started"] = "stream.started"
    id: int = Field(description="Events after this one follow.")
    is_complete: bool = Field(
        description="False: events after `after` may have been removed; read the state anew."
    )
