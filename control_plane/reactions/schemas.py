"""What the API gives for reactions."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from control_plane.reactions.models import ReactionState
from control_plane.runs.freshness import FreshnessState
from control_plane.targets.service import TargetType


class FreshnessView(BaseModel):
    """How fresh an asset with a policy is."""

    asset_key: list[str]
    policy_id: int
    state: FreshnessState = Field(
        description="`unknown`: never made, not published yet, or not looked at yet."
    )
    last_loaded_at: datetime | None


class ReactionView(BaseModel):
    """What something has launched, or why it has not."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    occasion: str = Field(description="What it was: a run, or a stale table and since when.")
    target_type: TargetType
    target_id: int
    state: ReactionState
    reason: str | None
    run_id: str | None
    created_at: datetime
