"""The cached tables of a connection."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from control_plane.tenancy.models import OrgOwned, same_org, unique_in_org


class DiscoveredTable(OrgOwned, Base):
    """A table or view as the last discovery of its connection saw it.

    A cache: rows are replaced as a whole and never point anywhere but to their connection.
    """

    __tablename__ = "discovered_tables"
    __table_args__ = (
        unique_in_org("id"),
        unique_in_org(
            "connection_id", "schema_name", "table_name", name="uq_discovered_tables_name"
        ),
        same_org("connection_id", "connections"),
    )

    connection_id: Mapped[int]
    schema_name: Mapped[str] = mapped_column(String(128))
    table_name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(20))
    row_estimate: Mapped[int | None]
    columns: Mapped[list[Any]]
    primary_key: Mapped[list[Any]]
    discovered_at: Mapped[datetime] = mapped_column(default=utc_now)
