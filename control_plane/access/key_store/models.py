"""API keys, kept as SHA-256."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, unique_in_org


class ApiKey(OrgOwned, Base):
    """A key of one org; it never has more than its creator has now."""

    __tablename__ = "api_keys"
    __table_args__ = (unique_in_org("id"), unique_in_org("key_hash"))

    name: Mapped[str] = mapped_column(String(200))
    key_hash: Mapped[str] = mapped_column(String(64), index=True)
    scopes: Mapped[list[Any]]
    created_by_user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
