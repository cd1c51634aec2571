"""Invitations, kept as SHA-256 of their token."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, unique_in_org


class Invitation(OrgOwned, Base):
    """A one-time link that makes one e-mail address a member with a role."""

    __tablename__ = "invitations"
    __table_args__ = (
        unique_in_org("id"),
        unique_in_org("token_hash"),
        Index(
            "uq_invitations_open_email",
            "org_id",
            "email",
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
        CheckConstraint("role IN ('viewer', 'editor', 'admin', 'owner')", name="role_known"),
        CheckConstraint("email = lower(email)", name="email_lower"),
    )

    email: Mapped[str] = mapped_column(String(320))
    role: Mapped[str] = mapped_column(String(20))
    token_hash: Mapped[str] = mapped_column(String(64))
    invited_by_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
    # When the link was mailed; nothing where whoever invited got it to hand on.
    mailed_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
