"""Users are global; a membership gives one a role in an org."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.access.permissions import Role
from control_plane.core.database import (
    Base,
    IdMixin,
    SoftDeleteMixin,
    TimestampMixin,
    VersionMixin,
)
from control_plane.tenancy.models import OrgOwned, unique_in_org


class User(IdMixin, TimestampMixin, SoftDeleteMixin, Base):
    """A person; `email` is lower-cased before it gets here."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower"),)

    email: Mapped[str] = mapped_column(String(320), unique=True)
    # Set by whoever proved to receive mail there: by a link, an invitation or a provider.
    email_verified_at: Mapped[datetime | None]
    password_hash: Mapped[str | None] = mapped_column(String(72))
    is_platform_operator: Mapped[bool] = mapped_column(default=False)


class Membership(OrgOwned, TimestampMixin, VersionMixin, Base):
    """A user's role in an org."""

    __tablename__ = "memberships"
    __table_args__ = (
        unique_in_org("user_id"),
        CheckConstraint("role IN ('viewer', 'editor', 'admin', 'owner')", name="role_known"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    role: Mapped[str] = mapped_column(String(20), default=Role.VIEWER)
