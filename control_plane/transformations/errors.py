"""What can go wrong with transformations."""

from control_plane.core.errors import Upstream


class WarehouseFailed(Upstream):
    """The database of a connection could not be asked; the detail says which and why."""

    code = "warehouse_failed"
    title = "The warehouse could not be asked"
