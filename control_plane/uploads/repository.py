"""Reads and writes uploads."""

from collections.abc import Sequence

from sqlalchemy import or_

from control_plane.tenancy.repository import ResourceRepository
from control_plane.uploads.models import Upload


class UploadRepository(ResourceRepository[Upload]):
    """The uploads of one org."""

    model = Upload
    noun = "upload"
    resource_type = "upload"

    def find_by_name(self, name: str) -> Upload | None:
        """Returns the live upload with this name."""
        return self.session.scalar(self.base().where(Upload.name == name))

    def list_into(self, connection_id: int) -> Sequence[Upload]:
        """Returns the live uploads that load into a connection, oldest first."""
        statement = self.base().where(Upload.destination_connection_id == connection_id)
        return self.session.scalars(statement.order_by(Upload.id)).all()

    def list_of_connection(self, connection_id: int) -> Sequence[Upload]:
        """Returns the live uploads that read from or load into a connection."""
        statement = self.base().where(
            or_(
                Upload.source_connection_id == connection_id,
                Upload.destination_connection_id == connection_id,
            )
        )
        return self.session.scalars(statement.order_by(Upload.id)).all()
