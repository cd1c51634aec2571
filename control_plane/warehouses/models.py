"""How far an org's managed warehouse is."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base, TimestampMixin
from control_plane.tenancy.models import OrgOwned, same_org, unique_in_org


class WarehouseState(StrEnum):
    """Where provisioning stands."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class Warehouse(OrgOwned, TimestampMixin, Base):
    """The provisioning of one org's warehouse; at most one each."""

    __tablename__ = "warehouses"
    __table_args__ = (
        unique_in_org(),
        same_org("connection_id", "connections"),
        CheckConstraint("state IN ('pending', 'ready', 'failed')", name="state_known"),
    )

    state: Mapped[str] = mapped_column(String(20), default=WarehouseState.PENDING)
    connection_id: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
