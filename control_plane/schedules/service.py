"""Creates, changes and deletes schedules, and tells when they tick."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.audit.resources import ResourceService
from control_plane.core.clock import utc_now
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.schedules.models import Schedule
from control_plane.schedules.repository import ScheduleRepository
from control_plane.schedules.schemas import ScheduleCreate, ScheduleUpdate
from control_plane.targets.service import TargetRef, TargetService
from control_plane.tenancy.repository import Deleted
from datanika_manifest.ticks import next_ticks


class ScheduleService(ResourceService[Schedule]):
    """The schedules of one org.

    Args:
        session: Inside the org.
        caller: In whose name; the org is the caller's.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        super().__init__(ScheduleRepository(session, caller.org_id), caller.audit(session))
        self._targets = TargetService(session, caller.org_id)

    def create_schedule(self, body: ScheduleCreate) -> Schedule:
        """Creates a schedule.

        Raises:
            Invalid: The target does not exist.
        """
        self._targets.require_target(TargetRef(body.target_type, body.target_id), "target")
        return self._create(Schedule(org_id=self._org_id, **body.model_dump(mode="json")))

    def update_schedule(
        self, schedule_id: int, body: ScheduleUpdate, if_match: IfMatch = ANY_VERSION
    ) -> Schedule:
        """Changes what `body` names.

        Raises:
            NotFound: The org has no such schedule.
            PreconditionFailed: It is another version by now.
            Invalid: The target does not exist.
        """
        row = self._lock(schedule_id, if_match)
        values = body.model_dump(mode="json", exclude_none=True)
        target_type = values.get("target_type", row.target_type)
        target_id = values.get("target_id", row.target_id)
        self._targets.require_target(TargetRef(target_type, target_id), "target")
        return self._update(row, values)

    def next_ticks(self, schedule: Schedule, count: int) -> list[datetime]:
        """Returns the next times at which a schedule ticks, were it active."""
        return next_ticks(schedule.cron, schedule.timezone, count, after=utc_now())

    def _check_restorable(self, row: Schedule) -> None:
        self._targets.require_live_target(TargetRef(row.target_type, row.target_id), hold=False)

    def _hold_references(self, row: Schedule) -> None:
        self._targets.require_live_target(TargetRef(row.target_type, row.target_id), hold=True)

    def _values_when_restored(self) -> dict[str, Any]:
        # Nobody expects a restored schedule to launch anything before it was looked at.
        return {"is_active": False}

    def _audit_values(self, row: Schedule) -> dict[str, Any]:
        return {
            "name": row.name,
            "cron": row.cron,
            "timezone": row.timezone,
            "target": f"{row.target_type} {row.target_id}",
            "is_active": row.is_active,
        }


def list_schedules(
    session: Session, org_id: int, changed_after: datetime | None
) -> Sequence[Schedule]:
    """Returns the org's schedules that were changed since then, or all."""
    return ScheduleRepository(session, org_id).list_changed(changed_after)


def schedules_using(
    session: Session, org_id: int, resource_type: str, resource_id: int
) -> Sequence[str]:
    """Names the schedules of a target, for `core.usages`."""
    rows = ScheduleRepository(session, org_id).list_of(resource_type, resource_id)
    return [f"schedule {row.id}" + (f" '{row.name}'" if row.name else "") for row in rows]


def select_deleted_schedules(session: Session, org_id: int) -> Deleted:
    """Returns the select of an org's deleted schedules."""
    return ScheduleRepository(session, org_id).select_deleted()
