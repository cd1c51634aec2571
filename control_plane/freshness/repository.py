"""Reads and writes freshness policies."""

from collections.abc import Sequence

from control_plane.freshness.models import FreshnessPolicy
from control_plane.tenancy.repository import TenantRepository


class FreshnessPolicyRepository(TenantRepository[FreshnessPolicy]):
    """The freshness policies of one org."""

    model = FreshnessPolicy
    noun = "freshness policy"

    def list_of(self, target_type: str, target_id: int) -> Sequence[FreshnessPolicy]:
        """Returns the live policies of a target."""
        statement = self.base().where(
            FreshnessPolicy.target_type == target_type, FreshnessPolicy.target_id == target_id
        )
        return self.session.scalars(statement.order_by(FreshnessPolicy.id)).all()
