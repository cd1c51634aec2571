"""What the API takes and gives for runs."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from control_plane.runs.models import RunStatus, RunTrigger


class RunTarget(BaseModel):
    """What a run is of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["upload", "transformation"]
    id: int = Field(ge=1)


class RunCreate(BaseModel):
    """A run of several targets at once, in the order of their lineage."""

    model_config = ConfigDict(extra="forbid")

    targets: list[RunTarget] = Field(
        default_factory=list["RunTarget"], description="Everything that is published, when empty."
    )
    priority: int = Field(
        default=0,
        ge=-10,
        le=10,
        description="Among the organization's own queued runs; the highest starts first.",
    )


class RunRetry(BaseModel):
    """How a run is done again."""

    model_config = ConfigDict(extra="forbid")

    from_failure: bool = Field(
        default=True,
        description="Only what failed and what comes after it; false: all that the run was of.",
    )


class RunAsset(BaseModel):
    """A table or model that a run made."""

    asset_key: list[str]
    kind: Literal["table", "model"]
    name: str
    rows: int | None
    duration_seconds: float | None
    backend: str | None = None


class RunCheck(BaseModel):
    """A test that a run evaluated."""

    asset_key: list[str]
    name: str
    passed: bool
    severity: Literal["warn", "error"]
    status: Literal["pass", "warn", "fail"]
    failures: int | None = None


class RunStep(BaseModel):
    """One step of a run."""

    key: str
    status: str | None
    started_at: datetime | None
    ended_at: datetime | None


class RunSummary(BaseModel):
    """A run in a list."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    status: RunStatus
    trigger: RunTrigger
    actor: str = Field(validation_alias="actor_name")
    targets: list[Any]
    manifest_sha256: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    waiting_for: Literal["unlock"] | None = Field(
        default=None,
        description="What keeps a pending run from starting: `unlock` while the platform is sealed.",
    )


class RunView(RunSummary):
    """A run with what it did."""

    retry_of: str | None = Field(
        default=None, description="The run that this one, by itself or by somebody, does again."
    )
    assets: list[RunAsset] = Field(default_factory=list["RunAsset"])
    checks: list[RunCheck] = Field(default_factory=list["RunCheck"])
    steps: list[RunStep] = Field(default_factory=list["RunStep"])
    is_complete: bool = Field(
        default=True,
        description="False where the log is longer than what is read for assets and checks.",
    )


class RunLogLine(BaseModel):
    """A line of a run's log."""

    timestamp: datetime
    level: str
    step: str | None
    message: str


class RunLog(BaseModel):
    """A page of a run's log; `next_cursor` continues, also later while the run goes on."""

    data: list[RunLogLine]
    next_cursor: str | None
    has_more: bool


class CheckKey(BaseModel):
    """A check that a run selects."""

    model_config = ConfigDict(extra="forbid")

    asset_key: list[str]
    name: str


class RunAuthorize(BaseModel):
    """What the launcher says of a run that is about to start."""

    model_config = ConfigDict(extra="forbid")

    org: str
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    asset_keys: list[list[str]] | None = None
    check_keys: list[CheckKey] | None = None
    schedule: str | None = None
    launch_id: str | None = Field(
        default=None, description="What the run says of the launch that it comes from."
    )


class ShellRunAuthorize(BaseModel):
    """What a shell says of a run that it is about to start."""

    model_config = ConfigDict(extra="forbid")

    run_id: str = Field(pattern=r"^[0-9a-f-]{36}$")
    org: str
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    asset_keys: list[list[str]] | None = None
    check_keys: list[CheckKey] | None = None


class AuthorizedRun(BaseModel):
    """The single-use token with which a run gets its credentials, and whose run it is."""

    token: str
    expires_at: datetime
    org_id: int
