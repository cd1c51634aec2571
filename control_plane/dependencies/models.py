"""An edge's row."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base
from control_plane.tenancy.models import Resource, unique_in_org


class Dependency(Resource, Base):
    """The downstream target runs after the upstream one: in one run, or launched by its success.

    Only successes since `triggers_since` launch it; without that none does.
    """

    __tablename__ = "dependencies"
    __table_args__ = (
        unique_in_org("id"),
        Index(
            "uq_dependencies_live_edge",
            "org_id",
            "upstream_type",
            "upstream_id",
            "downstream_type",
            "downstream_id",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        CheckConstraint("fresh_within_seconds > 0", name="freshness_positive"),
        CheckConstraint(
            "upstream_type <> downstream_type OR upstream_id <> downstream_id", name="not_itself"
        ),
    )

    upstream_type: Mapped[str] = mapped_column(String(20))
    upstream_id: Mapped[int]
    downstream_type: Mapped[str] = mapped_column(String(20))
    downstream_id: Mapped[int]
    triggers_since: Mapped[datetime | None]
    fresh_within_seconds: Mapped[int | None]

    @property
    def runs_after_success(self) -> bool:
        """Whether a success of the upstream target launches the downstream one."""
        return self.triggers_since is not None
