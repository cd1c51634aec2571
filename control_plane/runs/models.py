"""A run's row, and the launches that lead to runs."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, OrgScoped, unique_in_org


class RunStatus(StrEnum):
    """The public status of a run; `runs/status.py` maps Dagster's to it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunTrigger(StrEnum):
    """What started a run."""

    API = "api"
    SCHEDULE = "schedule"
    SHELL = "shell"
    UI = "ui"
    DEPENDENCY = "dependency"
    FRESHNESS = "freshness"


LAUNCHED = frozenset({RunTrigger.API, RunTrigger.DEPENDENCY, RunTrigger.FRESHNESS})
"""What the control plane launches itself."""


class Run(OrgScoped, Base):
    """A run; its id is Dagster's."""

    __tablename__ = "runs"
    __table_args__ = (
        Index(None, "org_id", "created_at", "id"),
        CheckConstraint(
            "status IN ('pending', 'running', 'success', 'failed', 'cancelled')",
            name="status_known",
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    status: Mapped[str] = mapped_column(String(20), default=RunStatus.PENDING)
    trigger: Mapped[str] = mapped_column(String(20))
    actor_name: Mapped[str] = mapped_column(String(320))
    targets: Mapped[list[Any]]
    asset_keys: Mapped[list[Any] | None]
    manifest_sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)


class Launch(OrgOwned, Base):
    """Somebody's wish to start a run, committed before Dagster is asked.

    With an `Idempotency-Key` the same wish never leads to two runs.
    """

    __tablename__ = "launches"
    __table_args__ = (unique_in_org("idempotency_key"),)

    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    body_sha256: Mapped[str] = mapped_column(String(64))
    targets: Mapped[list[Any]]
    trigger: Mapped[str] = mapped_column(String(20), server_default="api", default=RunTrigger.API)
    actor_kind: Mapped[str] = mapped_column(String(20), server_default="system")
    actor_id: Mapped[int | None]
    actor_name: Mapped[str] = mapped_column(String(320))
    ip_address: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(64))
    run_id: Mapped[str | None] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
