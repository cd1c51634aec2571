"""The audit logs' tables; the application role may insert and read, never change or delete."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base, IdMixin
from control_plane.tenancy.models import OrgOwned, unique_in_org


class EntryMixin:
    """What is known of one thing that somebody did."""

    occurred_at: Mapped[datetime] = mapped_column(default=utc_now)
    actor_kind: Mapped[str] = mapped_column(String(20))
    actor_id: Mapped[int | None]
    actor_name: Mapped[str] = mapped_column(String(320))
    action: Mapped[str] = mapped_column(String(60))
    resource_type: Mapped[str] = mapped_column(String(60))
    resource_id: Mapped[str | None] = mapped_column(String(100))
    old_values: Mapped[dict[str, Any] | None]
    new_values: Mapped[dict[str, Any] | None]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(64))


class AuditEntry(EntryMixin, OrgOwned, Base):
    """One thing that somebody did in an org."""

    __tablename__ = "audit_entries"
    # By id is newest first; each filter that picks few entries of many has an index in that order.
    __table_args__ = (
        unique_in_org("id"),
        Index(None, "org_id", "occurred_at"),
        Index(None, "org_id", "action", "id"),
        Index(None, "org_id", "resource_type", "resource_id", "id"),
        Index(None, "org_id", "actor_kind", "actor_id", "id"),
    )


class PlatformAuditEntry(EntryMixin, IdMixin, Base):
    """One thing that somebody did to the platform, or before an org was known."""

    __tablename__ = "platform_audit_entries"
    __table_args__ = (
        Index(None, "occurred_at"),
        Index(None, "action", "id"),
        Index(None, "resource_type", "resource_id", "id"),
        Index(None, "actor_kind", "actor_id", "id"),
    )
