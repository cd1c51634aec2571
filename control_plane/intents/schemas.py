"""What the gateway asks and is told."""

from pydantic import BaseModel, ConfigDict, Field

MOST_TARGETS = 10_000
MOST_LAUNCHES = 100


class IntentTarget(BaseModel):
    """One thing that an intent is about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(max_length=40)
    id: str = Field(max_length=1000)


class IntentCreate(BaseModel):
    """What somebody is about to do."""

    model_config = ConfigDict(extra="forbid")

    field: str = Field(max_length=100, description="A mutation of `datanika_manifest.intents`.")
    targets: list[IntentTarget] = Field(max_length=MOST_TARGETS)
    launches: int = Field(default=0, ge=0, le=MOST_LAUNCHES, description="Runs that it launches.")


class IntentAllowed(BaseModel):
    """It may be done."""

    launch_ids: list[int] = Field(description="One launch for each run, in their order.")
