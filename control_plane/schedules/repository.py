"""Reads and writes schedules."""

from collections.abc import Sequence

from control_plane.schedules.models import Schedule
from control_plane.tenancy.repository import TenantRepository


class ScheduleRepository(TenantRepository[Schedule]):
    """The schedules of one org."""

    model = Schedule
    noun = "schedule"

    def list_of(self, target_type: str, target_id: int) -> Sequence[Schedule]:
        """Returns the live schedules of a target."""
        statement = self.base().where(
            Schedule.target_type == target_type, Schedule.target_id == target_id
        )
        return self.session.scalars(statement.order_by(Schedule.id)).all()
