"""Reads the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.audit.models import AuditEntry
from control_plane.tenancy.repository import TenantRepository


@dataclass(frozen=True)
class EntryFilter:
    """Which entries are wanted; None leaves a column open."""

    action: str | None = None
    resource_type: str | None = None
    actor_id: int | None = None


class AuditRepository(TenantRepository[AuditEntry]):
    """The audit entries of one org."""

    model = AuditEntry
    noun = "audit entry"

    def page_before(
        self, row_id: int | None, limit: int, wanted: EntryFilter
    ) -> Sequence[AuditEntry]:
        """Returns entries, newest first, those before `row_id` where it is given."""
        statement = self.base().order_by(AuditEntry.id.desc()).limit(limit)
        if row_id is not None:
            statement = statement.where(AuditEntry.id < row_id)
        if wanted.action is not None:
            statement = statement.where(AuditEntry.action == wanted.action)
        if wanted.resource_type is not None:
            statement = statement.where(AuditEntry.resource_type == wanted.resource_type)
        if wanted.actor_id is not None:
            statement = statement.where(AuditEntry.actor_id == wanted.actor_id)
        return self.session.scalars(statement).all()
