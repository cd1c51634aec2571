"""Reads and writes edges."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, or_, select

from control_plane.dependencies.models import Dependency
from control_plane.targets.service import TargetRef
from control_plane.tenancy.repository import ResourceRepository


class DependencyRepository(ResourceRepository[Dependency]):
    """The edges of one org."""

    model = Dependency
    noun = "dependency"
    resource_type = "dependency"

    def lock_all(self) -> None:
        """Waits until nobody else changes the org's edges, until the transaction ends.

        Two edges that are each harmless can close a circle together.
        """
        key = func.hashtextextended(f"dependencies:{self.org_id}", 0)
        self.session.execute(select(func.pg_advisory_xact_lock(key)))

    def find_edge(self, upstream: TargetRef, downstream: TargetRef) -> Dependency | None:
        """Returns the live edge between two targets."""
        return self.session.scalar(
            self.base().where(
                Dependency.upstream_type == upstream.type,
                Dependency.upstream_id == upstream.id,
                Dependency.downstream_type == downstream.type,
                Dependency.downstream_id == downstream.id,
            )
        )

    def list_at(self, target_type: str, target_id: int) -> Sequence[Dependency]:
        """Returns the live edges that begin or end at a target."""
        statement = self.base().where(
            or_(
                (Dependency.upstream_type == target_type) & (Dependency.upstream_id == target_id),
                (Dependency.downstream_type == target_type)
                & (Dependency.downstream_id == target_id),
            )
        )
        return self.session.scalars(statement.order_by(Dependency.id)).all()

    def page_where(
        self, conditions: dict[str, object], after_id: int | None, limit: int
    ) -> Sequence[Dependency]:
        """Returns up to `limit` edges by id whose columns have these values."""
        statement = self.base().filter_by(**conditions).order_by(Dependency.id).limit(limit)
        if after_id is not None:
            statement = statement.where(Dependency.id > after_id)
        return self.session.scalars(statement).all()

    def name_column(self) -> ColumnElement[str]:
        """Returns both ends of an edge."""
        upstream = func.concat(Dependency.upstream_type, " ", Dependency.upstream_id)
        return upstream + func.concat(
            " → ", Dependency.downstream_type, " ", Dependency.downstream_id
        )
