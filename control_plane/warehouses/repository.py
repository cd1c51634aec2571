"""Reads and writes the state of warehouses."""

from control_plane.tenancy.repository import TenantRepository
from control_plane.warehouses.models import Warehouse


class WarehouseRepository(TenantRepository[Warehouse]):
    """The warehouse of one org."""

    model = Warehouse
    noun = "warehouse"

    def find_own(self) -> Warehouse | None:
        """Returns the org's warehouse, None before anybody asked for it."""
        return self.session.scalar(self.base())

    def lock_own(self) -> Warehouse | None:
        """Returns the org's warehouse locked, None while another worker has it."""
        return self.session.scalar(self.base().with_for_update(skip_locked=True))
