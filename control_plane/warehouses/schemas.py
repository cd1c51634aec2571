"""What the API gives for the managed warehouse."""

from pydantic import BaseModel

from control_plane.warehouses.models import WarehouseState


class WarehouseView(BaseModel):
    """The org's managed warehouse, without passwords."""

    state: WarehouseState
    connection_id: int | None = None
    host: str | None = None
    port: int | None = None
    database: str | None = None
    user: str | None = None
    error: str | None = None


class ReaderCredentials(BaseModel):
    """A read-only login for people and BI tools; shown in this answer only."""

    user: str
    password: str
    url: str
