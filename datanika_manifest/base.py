"""The base of every model that crosses between the planes."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A model that is immutable, hashable by value and refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
