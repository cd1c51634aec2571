"""Reads what happened in an org, and removes what is old."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session, sessionmaker

from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.events.models import Event
from control_plane.events.repository import EventRepository
from control_plane.tenancy.service import list_org_ids

KEPT = timedelta(days=7)
MAXIMUM_DELETED = 5000


@dataclass(frozen=True)
class Position:
    """Where a reader of an org's events is.

    Attributes:
        event_id: The last event that it knows.
        is_complete: False where events after it may have been removed meanwhile.
    """

    event_id: int
    is_complete: bool


def position_after(session: Session, org_id: int, after_id: int | None) -> Position:
    """Returns where a reader goes on.

    Args:
        session: Inside the org.
        org_id: The org.
        after_id: The last event that it knows; None begins with what happens from now on.
    """
    oldest, newest = EventRepository(session, org_id).bounds()
    if after_id is None:
        return Position(newest, is_complete=True)
    # As long as one of before is there, nothing after it was removed: the oldest go first.
    return Position(after_id, is_complete=0 < oldest <= after_id)


def page_events(
    session: Session, org_id: int, after_id: int, limit: int, families: Collection[str]
) -> Sequence[Event]:
    """Returns the events after one, oldest first; none where no kind may be seen."""
    if not families:
        return []
    return EventRepository(session, org_id).page(after_id, limit, families)


def delete_old_events(factory: sessionmaker[Session]) -> int:
    """Removes the events of all orgs that are older than a week, and returns how many."""
    before = utc_now() - KEPT
    with transaction(factory) as session:
        org_ids = list_org_ids(session)
    deleted = 0
    for org_id in org_ids:
        removed = MAXIMUM_DELETED
        while removed == MAXIMUM_DELETED:
            with transaction(factory, org_id) as session:
                removed = EventRepository(session, org_id).delete_before(before, MAXIMUM_DELETED)
            deleted += removed
    return deleted
