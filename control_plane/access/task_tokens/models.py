"""Task tokens, kept as SHA-256."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, unique_in_org


class TaskToken(OrgOwned, Base):
    """A single-use right to the credentials of some connections of one org."""

    __tablename__ = "task_tokens"
    __table_args__ = (
        unique_in_org("token_hash"),
        Index(None, "org_id", "run_id"),
        Index(None, "org_id", "expires_at"),
    )

    token_hash: Mapped[str] = mapped_column(String(64))
    purpose: Mapped[str] = mapped_column(String(40))
    run_id: Mapped[str | None] = mapped_column(String(36))
    connection_ids: Mapped[list[Any]]
    actor_kind: Mapped[str] = mapped_column(String(20), server_default="system")
    actor_id: Mapped[int | None]
    actor_name: Mapped[str] = mapped_column(String(320))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    redeemed_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
