"""Counters of attempts, shared by every process of the control plane."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base, IdMixin


class ThrottleCounter(IdMixin, Base):
    """Attempts under one key in one window; keys are SHA-256, so that no address is stored."""

    __tablename__ = "throttle_counters"

    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    window_ends_at: Mapped[datetime]
    attempts: Mapped[int]
