"""Reads and writes connections."""

from collections.abc import Sequence

from control_plane.connections.models import Connection
from control_plane.tenancy.repository import ResourceRepository


class ConnectionRepository(ResourceRepository[Connection]):
    """The connections of one org."""

    model = Connection
    noun = "connection"
    resource_type = "connection"

    def find_managed_warehouse(self) -> Connection | None:
        """Returns the org's managed warehouse, once it is provisioned."""
        return self.session.scalar(self.base().where(Connection.connector == "managed_warehouse"))

    def list_by_ids(self, ids: Sequence[int]) -> Sequence[Connection]:
        """Returns the live connections with these ids."""
        return self.session.scalars(self.base().where(Connection.id.in_(ids))).all()
