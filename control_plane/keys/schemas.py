"""What the API takes and gives for the platform's keys."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

SealState = Literal["unsealed", "sealed", "uninitialized"]
RotationState = Literal["idle", "running"]


class DataKeyCounts(BaseModel):
    """How far the orgs' data keys are wrapped with the key that wraps now."""

    total: int = Field(description="Data keys of all organizations, also of deleted ones.")
    current: int | None = Field(
        description="Those that the present key-encryption key wraps; null where only opening them "
        "would tell: for keys from outside the database, `GET …/rotations` does so while unsealed."
    )


class SealView(BaseModel):
    """Whether the platform's secrets can be read."""

    provider: str = Field(description="Where the key-encryption keys come from.")
    state: SealState
    detail: str | None = Field(description="What is missing, while sealed.")
    data_keys: DataKeyCounts


class SealStateView(BaseModel):
    """The state alone, for the platform's own processes."""

    state: SealState


class MasterPasswordCreate(BaseModel):
    """The first master password."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr = Field(description="At least 12 characters; stored nowhere.")


class MasterPasswordChange(BaseModel):
    """Another master password."""

    model_config = ConfigDict(extra="forbid")

    current_password: SecretStr
    new_password: SecretStr = Field(description="At least 12 characters; stored nowhere.")


class Unlock(BaseModel):
    """The master password."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr


class KeyRotationCreate(BaseModel):
    """A rotation of the key-encryption key."""

    model_config = ConfigDict(extra="forbid")

    password: SecretStr | None = Field(
        default=None, description="The master password, where one opens the keys."
    )


class KeyRotationView(BaseModel):
    """The latest rotation of the key-encryption key."""

    state: RotationState
    requested_by: str | None
    requested_at: datetime | None = Field(description="Null where there never was a rotation.")
    completed_at: datetime | None
    data_keys: DataKeyCounts


class DataKeyRotationView(BaseModel):
    """How far an organization's secrets are encrypted with its newest data key."""

    state: RotationState
    data_key_id: int = Field(description="The key that encrypts now.")
    created_at: datetime = Field(description="When that key was made.")
    remaining: int = Field(description="Secrets that an older key still encrypts.")
