"""A connection's row: settings in clear, secrets as one ciphertext."""

from typing import Any

from sqlalchemy import CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base
from control_plane.tenancy.models import (
    Resource,
    SecretsMixin,
    secrets_constraints,
    unique_in_org,
)


class Connection(Resource, SecretsMixin, Base):
    """A database, as one org reaches it. Its slug is immutable: asset keys carry it."""

    __tablename__ = "connections"
    __table_args__ = (
        unique_in_org("id"),
        unique_in_org("slug"),
        Index(
            "uq_connections_live_name",
            "org_id",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        CheckConstraint("direction IN ('source', 'destination', 'both')", name="direction_known"),
        *secrets_constraints(),
    )

    slug: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(200))
    connector: Mapped[str] = mapped_column(String(40))
    direction: Mapped[str] = mapped_column(String(20))
    config: Mapped[dict[str, Any]]
