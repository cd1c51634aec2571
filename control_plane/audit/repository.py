"""Reads the audit logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from control_plane.audit.models import AuditEntry, PlatformAuditEntry
from control_plane.tenancy.repository import TenantRepository

_COLUMNS = ("action", "resource_type", "resource_id", "actor_kind", "actor_id")


@dataclass(frozen=True)
class EntryFilter:
    """Which entries are wanted; None leaves a column open.

    Attributes:
        action: What was done.
        resource_type: To what kind of thing.
        resource_id: To which one.
        user_id: By which user; never by a key that has the same number.
        actor_kind: `user`, `api_key` or `system`.
        actor_id: That kind's id.
        since: From this time on.
        until: Before this time.
    """

    action: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    user_id: int | None = None
    actor_kind: str | None = None
    actor_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(
        self, model: type[AuditEntry] | type[PlatformAuditEntry]
    ) -> list[ColumnElement[bool]]:
        """Returns the filter's WHERE conditions on one of the two logs."""
        conditions = [
            getattr(model, name) == value
            for name in _COLUMNS
            if (value := getattr(self, name)) is not None
        ]
        if self.user_id is not None:
            conditions += [model.actor_kind == "user", model.actor_id == self.user_id]
        if self.since is not None:
            conditions.append(model.occurred_at >= self.since)
        if self.until is not None:
            conditions.append(model.occurred_at < self.until)
        return conditions


class AuditRepository(TenantRepository[AuditEntry]):
    """The audit entries of one org."""

    model = AuditEntry
    noun = "audit entry"

    def page_before(
        self, row_id: int | None, limit: int, wanted: EntryFilter
    ) -> Sequence[AuditEntry]:
        """Returns entries, newest first, those before `row_id` where it is given."""
        return self.session.scalars(_before(self.base(), AuditEntry, row_id, limit, wanted)).all()

    def page_between(
        self, after_id: int, before_id: int, limit: int, wanted: EntryFilter
    ) -> Sequence[AuditEntry]:
        """Returns the entries between two, without them, oldest first."""
        statement = _between(self.base(), AuditEntry, (after_id, before_id), limit, wanted)
        return self.session.scalars(statement).all()


class PlatformAuditRepository:
    """The audit entries of the platform itself."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def page_before(
        self, row_id: int | None, limit: int, wanted: EntryFilter
    ) -> Sequence[PlatformAuditEntry]:
        """Returns entries, newest first, those before `row_id` where it is given."""
        statement = select(PlatformAuditEntry)
        return self.session.scalars(
            _before(statement, PlatformAuditEntry, row_id, limit, wanted)
        ).all()

    def page_between(
        self, after_id: int, before_id: int, limit: int, wanted: EntryFilter
    ) -> Sequence[PlatformAuditEntry]:
        """Returns the entries between two, without them, oldest first."""
        statement = select(PlatformAuditEntry)
        return self.session.scalars(
            _between(statement, PlatformAuditEntry, (after_id, before_id), limit, wanted)
        ).all()


def _before(
    statement: Select[Any],
    model: type[AuditEntry] | type[PlatformAuditEntry],
    row_id: int | None,
    limit: int,
    wanted: EntryFilter,
) -> Select[Any]:
    statement = statement.where(*wanted.conditions(model)).order_by(model.id.desc()).limit(limit)
    return statement if row_id is None else statement.where(model.id < row_id)


def _between(
    statement: Select[Any],
    model: type[AuditEntry] | type[PlatformAuditEntry],
    ids: tuple[int, int],
    limit: int,
    wanted: EntryFilter,
) -> Select[Any]:
    after_id, before_id = ids
    statement = statement.where(*wanted.conditions(model))
    return (
        statement.where(model.id > after_id, model.id < before_id).order_by(model.id).limit(limit)
    )
