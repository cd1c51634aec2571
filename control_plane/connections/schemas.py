"""What the API takes and gives for connections; secrets are write-only."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from control_plane.core.etags import VersionedView
from datanika_manifest.connectors.base import Direction


class ConnectionCreate(BaseModel):
    """A new connection."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=200, description="Unique in the organization.")
    connector: str = Field(description="The kind of system, for example `postgres`.")
    direction: Direction = Field(description="What it is used for.")
    config: dict[str, Any] = Field(description="The connector's settings, with its secrets.")


class ConnectionUpdate(BaseModel):
    """What changes; settings that are left out stay, also secrets."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str | None = Field(default=None, min_length=1, max_length=200)
    direction: Direction | None = None
    config: dict[str, Any] | None = Field(
        default=None, description="Settings to replace; the others stay."
    )


class ConnectionView(VersionedView):
    """A connection without its secrets."""

    id: int
    slug: str
    name: str
    connector: str
    direction: Direction
    config: dict[str, Any] = Field(description="The settings that are no secrets.")
    secrets_set: list[str] = Field(description="Which secrets are stored.")
    created_at: datetime
    updated_at: datetime


class ConnectionTestResult(BaseModel):
    """What a live test found."""

    ok: bool
    code: str = Field(description="`ok`, or why it failed: `connection.auth`, `connection.dns`, …")
    message: str
    duration_ms: int
    server_version: str | None = None


class TaskAnswer(BaseModel):
    """The answer of the task `connection_test`, which ran a connector against somebody's server."""

    model_config = ConfigDict(strict=True)

    duration_ms: int = Field(ge=0, le=24 * 3600 * 1000)
    server_version: str | None = Field(default=None, max_length=200)


class RedeemedConnection(BaseModel):
    """A connection with its secrets, for the run or task that redeems a token."""

    connector: str
    config: dict[str, Any]


class Redeemed(BaseModel):
    """What a task token is exchanged for."""

    org: str
    org_id: int
    run_id: str | None
    connections: dict[str, RedeemedConnection]
    allowed_networks: list[str]
    refused_endpoints: list[tuple[str, int]] = Field(
        description="The platform's own services, refused also where their network is allowed."
    )
