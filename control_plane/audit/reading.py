"""Reads the audit logs, page by page or whole; knows nobody who asks."""

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session, sessionmaker

from control_plane.audit.models import AuditEntry, PlatformAuditEntry
from control_plane.audit.repository import AuditRepository, EntryFilter, PlatformAuditRepository
from control_plane.audit.service import Actor
from control_plane.core.database import read_only_transaction

BATCH_ROWS = 500

__all__ = [
    "BATCH_ROWS",
    "EntryFilter",
    "export_entries",
    "export_platform_entries",
    "is_recorded",
    "page_entries",
    "page_platform_entries",
]


def page_entries(
    session: Session, org_id: int, before_id: int | None, limit: int, wanted: EntryFilter
) -> Sequence[AuditEntry]:
    """Returns an org's entries, newest first, those before `before_id` where it is given."""
    return AuditRepository(session, org_id).page_before(before_id, limit, wanted)


def page_platform_entries(
    session: Session, before_id: int | None, limit: int, wanted: EntryFilter
) -> Sequence[PlatformAuditEntry]:
    """Returns the platform's entries, newest first, those before `before_id` where it is given."""
    return PlatformAuditRepository(session).page_before(before_id, limit, wanted)


def is_recorded(
    session: Session,
    org_id: int,
    action: str,
    resource_type: str,
    resource_id: str,
    *,
    by: Actor | None = None,
) -> bool:
    """Tells whether the org's log has such an entry already, of anybody or `by` one actor."""
    wanted = EntryFilter(
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        actor_kind=by.kind if by else None,
        actor_id=by.id if by else None,
    )
    return bool(AuditRepository(session, org_id).page_before(None, 1, wanted))


def export_entries(
    factory: sessionmaker[Session], org_id: int, before_id: int, wanted: EntryFilter
) -> Iterator[Sequence[AuditEntry]]:
    """Gives an org's entries in batches, oldest first.

    Each batch is a short read-only transaction of its own inside the org: however slowly somebody
    reads, no connection and no snapshot is held meanwhile, and one batch is all that is in memory.

    Args:
        factory: Makes the transactions.
        org_id: The org.
        before_id: The entry that says who exports; it ends the export, also of a growing log.
        wanted: Which entries.
    """
    after_id = 0
    while True:
        with read_only_transaction(factory, org_id) as session:
            rows = AuditRepository(session, org_id).page_between(
                after_id, before_id, BATCH_ROWS, wanted
            )
        if not rows:
            return
        yield rows
        after_id = rows[-1].id


def export_platform_entries(
    factory: sessionmaker[Session], before_id: int, wanted: EntryFilter
) -> Iterator[Sequence[PlatformAuditEntry]]:
    """Gives the platform's entries in batches, oldest first; the same way as an org's."""
    after_id = 0
    while True:
        with read_only_transaction(factory) as session:
            rows = PlatformAuditRepository(session).page_between(
                after_id, before_id, BATCH_ROWS, wanted
            )
        if not rows:
            return
        yield rows
        after_id = rows[-1].id
