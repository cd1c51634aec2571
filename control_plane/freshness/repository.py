"""Reads and writes freshness policies."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, String, cast, func, literal

from control_plane.freshness.models import FreshnessPolicy
from control_plane.tenancy.repository import ResourceRepository


class FreshnessPolicyRepository(ResourceRepository[FreshnessPolicy]):
    """The freshness policies of one org."""

    model = FreshnessPolicy
    noun = "freshness policy"
    resource_type = "freshness_policy"

    def list_of(self, target_type: str, target_id: int) -> Sequence[FreshnessPolicy]:
        """Returns the live policies of a target."""
        statement = self.base().where(
            FreshnessPolicy.target_type == target_type, FreshnessPolicy.target_id == target_id
        )
        return self.session.scalars(statement.order_by(FreshnessPolicy.id)).all()

    def name_column(self) -> ColumnElement[str]:
        """Returns a policy's target, with the table where it is of one."""
        target = FreshnessPolicy.target_type + " " + cast(FreshnessPolicy.target_id, String)
        return target + func.coalesce(literal(" ") + FreshnessPolicy.table_name, "")
