"""A freshness policy's row."""

from sqlalchemy import CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base
from control_plane.tenancy.models import Resource, unique_in_org


class FreshnessPolicy(Resource, Base):
    """How old an asset may become. A policy of one table goes before one of the whole upload."""

    __tablename__ = "freshness_policies"
    __table_args__ = (
        unique_in_org("id"),
        Index(
            "uq_freshness_policies_live_target",
            "org_id",
            "target_type",
            "target_id",
            "table_name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        CheckConstraint("num_nonnulls(max_age_seconds, deadline_cron) = 1", name="one_limit"),
        CheckConstraint("max_age_seconds >= 60", name="age_evaluable"),
        CheckConstraint("reaction IN ('none', 'launch', 'alert')", name="reaction_known"),
        CheckConstraint("maximum_launches BETWEEN 1 AND 100", name="launches_bounded"),
        CheckConstraint("severity IN ('warn', 'error')", name="severity_known"),
    )

    target_type: Mapped[str] = mapped_column(String(20))
    target_id: Mapped[int]
    table_name: Mapped[str | None] = mapped_column(String(63))
    max_age_seconds: Mapped[int | None]
    deadline_cron: Mapped[str | None] = mapped_column(String(200))
    timezone: Mapped[str] = mapped_column(String(64))
    reaction: Mapped[str] = mapped_column(String(20), default="none", server_default="none")
    maximum_launches: Mapped[int] = mapped_column(default=3, server_default="3")
    severity: Mapped[str] = mapped_column(String(20))
