"""Creates, changes and deletes schedules, and tells when they tick."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.core.clock import utc_now
from control_plane.core.cron import next_ticks
from control_plane.schedules.models import Schedule
from control_plane.schedules.repository import ScheduleRepository
from control_plane.schedules.schemas import ScheduleCreate, ScheduleUpdate
from control_plane.targets.service import TargetRef, TargetService


class ScheduleService:
    """The schedules of one org.

    Args:
        session: Inside the org.
        caller: In whose name; the org is the caller's.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._org_id = caller.org_id
        self._audit = caller.audit(session)
        self._rows = ScheduleRepository(session, caller.org_id)
        self._targets = TargetService(session, caller.org_id)

    def create_schedule(self, body: ScheduleCreate) -> Schedule:
        """Creates a schedule.

        Raises:
            Invalid: The target does not exist.
        """
        self._targets.require_target(TargetRef(body.target_type, body.target_id), "target")
        row = self._rows.add(Schedule(org_id=self._org_id, **body.model_dump(mode="json")))
        self._audit.record("create", "schedule", row.id, new=_audit_values(row))
        return row

    def update_schedule(self, schedule_id: int, body: ScheduleUpdate) -> Schedule:
        """Changes what `body` names.

        Raises:
            NotFound: The org has no such schedule.
            Invalid: The target does not exist.
        """
        row = self._rows.get(schedule_id)
        old = _audit_values(row)
        for name, value in body.model_dump(mode="json", exclude_none=True).items():
            setattr(row, name, value)
        with self._session.no_autoflush:
            self._targets.require_target(TargetRef(row.target_type, row.target_id), "target")
        self._session.flush()
        self._audit.record("update", "schedule", row.id, old=old, new=_audit_values(row))
        return row

    def delete_schedule(self, schedule_id: int) -> None:
        """Deletes a schedule softly.

        Raises:
            NotFound: The org has no such schedule.
        """
        row = self._rows.get(schedule_id)
        row.deleted_at = utc_now()
        self._audit.record("delete", "schedule", row.id, old=_audit_values(row))

    def get_schedule(self, schedule_id: int) -> Schedule:
        """Returns a schedule.

        Raises:
            NotFound: The org has no such schedule.
        """
        return self._rows.get(schedule_id)

    def list_schedules(self) -> Sequence[Schedule]:
        """Returns every live schedule."""
        return self._rows.list_all()

    def page_schedules(self, after_id: int | None, limit: int) -> Sequence[Schedule]:
        """Returns the schedules after `after_id`."""
        return self._rows.page_after(after_id, limit)

    def next_ticks(self, schedule: Schedule, count: int) -> list[datetime]:
        """Returns the next times at which a schedule ticks, were it active."""
        return next_ticks(schedule.cron, schedule.timezone, count, after=utc_now())


def schedules_using(
    session: Session, org_id: int, resource_type: str, resource_id: int
) -> Sequence[str]:
    """Names the schedules of a target, for `core.usages`."""
    rows = ScheduleRepository(session, org_id).list_of(resource_type, resource_id)
    return [f"schedule {row.id}" + (f" '{row.name}'" if row.name else "") for row in rows]


def _audit_values(row: Schedule) -> dict[str, Any]:
    return {
        "name": row.name,
        "cron": row.cron,
        "timezone": row.timezone,
        "target": f"{row.target_type} {row.target_id}",
        "is_active": row.is_active,
    }
