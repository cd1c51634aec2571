"""Reads and writes transformations."""

from collections.abc import Sequence

from sqlalchemy import select

from control_plane.tenancy.repository import ResourceRepository
from control_plane.transformations.models import Transformation


class TransformationRepository(ResourceRepository[Transformation]):
    """The transformations of one org."""

    model = Transformation
    noun = "transformation"
    resource_type = "transformation"

    def find_by_slug(self, connection_id: int, slug: str) -> Transformation | None:
        """Returns the live transformation of a connection with this slug."""
        return self.session.scalar(
            self.base().where(
                Transformation.connection_id == connection_id, Transformation.slug == slug
            )
        )

    def list_of_connection(self, connection_id: int) -> Sequence[Transformation]:
        """Returns the live transformations of a connection, oldest first."""
        statement = self.base().where(Transformation.connection_id == connection_id)
        return self.session.scalars(statement.order_by(Transformation.id)).all()

    def connection_ids(self) -> Sequence[int]:
        """Returns the connections that have live transformations."""
        statement = (
            select(Transformation.connection_id)
            .where(Transformation.org_id == self.org_id, Transformation.deleted_at.is_(None))
            .distinct()
            .order_by(Transformation.connection_id)
        )
        return self.session.scalars(statement).all()
