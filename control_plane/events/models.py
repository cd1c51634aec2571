"""The events of an org; PostgreSQL writes them, in the order in which they become visible."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, unique_in_org


class Event(OrgOwned, Base):
    """Something that happened; it is written once and never changed."""

    __tablename__ = "events"
    __table_args__ = (unique_in_org("id"), Index(None, "org_id", "created_at"))

    kind: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
