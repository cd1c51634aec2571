"""A reaction's row."""

import secrets
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, unique_in_org


class Cause(StrEnum):
    """What a reaction follows; persisted, append-only."""

    DEPENDENCY = "dependency"
    FRESHNESS = "freshness"


class ReactionState(StrEnum):
    """What became of a reaction; persisted, append-only."""

    PENDING = "pending"
    LAUNCHED = "launched"
    SKIPPED = "skipped"
    FAILED = "failed"
    ALERTED = "alerted"


def _new_key() -> str:
    return secrets.token_hex(16)


class Reaction(OrgOwned, Base):
    """A launch that something calls for: one for each occasion, whoever notices it and however often.

    `launch_key` makes its launch one run, wherever the launching process dies; nobody can guess it.
    """

    __tablename__ = "reactions"
    __table_args__ = (
        unique_in_org("cause_type", "cause_id", "occasion"),
        Index("ix_reactions_pending", "org_id", postgresql_where=text("state = 'pending'")),
        CheckConstraint("cause_type IN ('dependency', 'freshness')", name="cause_known"),
        CheckConstraint(
            "state IN ('pending', 'launched', 'skipped', 'failed', 'alerted')", name="state_known"
        ),
    )

    cause_type: Mapped[str] = mapped_column(String(20))
    cause_id: Mapped[int]
    occasion: Mapped[str] = mapped_column(String(400))
    target_type: Mapped[str] = mapped_column(String(20))
    target_id: Mapped[int]
    state: Mapped[str] = mapped_column(String(20), default=ReactionState.PENDING)
    reason: Mapped[str | None] = mapped_column(Text)
    launch_key: Mapped[str] = mapped_column(String(32), default=_new_key)
    run_id: Mapped[str | None] = mapped_column(String(36))
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=utc_now)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
