"""Reads and writes schedules."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, String, cast, func

from control_plane.schedules.models import Schedule
from control_plane.tenancy.repository import ResourceRepository


class ScheduleRepository(ResourceRepository[Schedule]):
    """The schedules of one org."""

    model = Schedule
    noun = "schedule"
    resource_type = "schedule"

    def list_of(self, target_type: str, target_id: int) -> Sequence[Schedule]:
        """Returns the live schedules of a target."""
        statement = self.base().where(
            Schedule.target_type == target_type, Schedule.target_id == target_id
        )
        return self.session.scalars(statement.order_by(Schedule.id)).all()

    def list_changed(self, changed_after: datetime | None) -> Sequence[Schedule]:
        """Returns the live schedules that were changed since then, or all."""
        statement = self.base()
        if changed_after is not None:
            statement = statement.where(Schedule.updated_at >= changed_after)
        return self.session.scalars(statement.order_by(Schedule.id)).all()

    def name_column(self) -> ColumnElement[str]:
        """Returns a schedule's name, or its target where it has none."""
        target = Schedule.target_type + " " + cast(Schedule.target_id, String)
        return func.coalesce(Schedule.name, target)
