"""A schedule's row."""

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base
from control_plane.tenancy.models import Resource, unique_in_org


class Schedule(Resource, Base):
    """Launches its target by cron."""

    __tablename__ = "schedules"
    __table_args__ = (
        unique_in_org("id"),
        Index(None, "org_id", "target_type", "target_id"),
    )

    name: Mapped[str | None] = mapped_column(String(200))
    cron: Mapped[str] = mapped_column(String(200))
    timezone: Mapped[str] = mapped_column(String(64))
    target_type: Mapped[str] = mapped_column(String(20))
    target_id: Mapped[int]
    is_active: Mapped[bool] = mapped_column(default=True)
