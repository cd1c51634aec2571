"""An upload's row."""

from typing import Any

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base
from control_plane.tenancy.models import Resource, same_org, unique_in_org


class Upload(Resource, Base):
    """An extract-and-load job. Its slug is immutable: op names and pipelines carry it."""

    __tablename__ = "uploads"
    __table_args__ = (
        unique_in_org("id"),
        unique_in_org("slug"),
        same_org("source_connection_id", "connections"),
        same_org("destination_connection_id", "connections"),
        Index(
            "uq_uploads_live_name",
            "org_id",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    slug: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(200))
    source_connection_id: Mapped[int]
    destination_connection_id: Mapped[int]
    config: Mapped[dict[str, Any]]
