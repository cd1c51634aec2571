"""Published manifests, immutable, and which one is current."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, same_org, unique_in_org


class Manifest(OrgOwned, Base):
    """A manifest, named by the SHA-256 of its text; the application role cannot change it."""

    __tablename__ = "manifests"
    __table_args__ = (unique_in_org("id"), unique_in_org("sha256"))

    sha256: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    created_by: Mapped[str] = mapped_column(String(320))


class CurrentManifest(OrgOwned, Base):
    """Which manifest new runs of an org use."""

    __tablename__ = "current_manifests"
    __table_args__ = (unique_in_org(), same_org("manifest_id", "manifests"))

    manifest_id: Mapped[int]
    published_at: Mapped[datetime] = mapped_column(default=utc_now)
