"""Reads and removes the events of one org."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, func, or_, select

from control_plane.events.models import Event
from control_plane.tenancy.repository import TenantRepository


class EventRepository(TenantRepository[Event]):
    """The events of one org."""

    model = Event
    noun = "event"

    def page(self, after_id: int, limit: int, families: Collection[str]) -> Sequence[Event]:
        """Returns events after one, oldest first.

        Args:
            after_id: Those after this one.
            limit: How many at most.
            families: What their kinds begin with, before the dot.
        """
        wanted = or_(*(Event.kind.startswith(f"{family}.") for family in sorted(families)))
        statement = self.base().where(Event.id > after_id, wanted)
        return self.session.scalars(statement.order_by(Event.id).limit(limit)).all()

    def bounds(self) -> tuple[int, int]:
        """Returns the ids of the oldest and the newest event; zeros where there is none."""
        statement = select(func.min(Event.id), func.max(Event.id)).where(
            Event.org_id == self.org_id
        )
        oldest, newest = self.session.execute(statement).one()
        return oldest or 0, newest or 0

    def delete_before(self, before: datetime, limit: int) -> int:
        """Removes the oldest events that are older than a time, and returns how many."""
        old = (
            select(Event.id)
            .where(Event.org_id == self.org_id, Event.created_at < before)
            .order_by(Event.created_at)
            .limit(limit)
        )
        statement = delete(Event).where(Event.org_id == self.org_id, Event.id.in_(old))
        return len(self.session.scalars(statement.returning(Event.id)).all())
