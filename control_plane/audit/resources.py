"""What every kind of resource does alike: it is read, deleted softly and restored, on the record."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy.exc import IntegrityError

from control_plane.audit.service import AuditLog
from control_plane.core.clock import utc_now
from control_plane.core.errors import Conflict, Invalid
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.core.usages import Usages
from control_plane.tenancy.models import Resource
from control_plane.tenancy.repository import ResourceRepository

Row = TypeVar("Row", bound=Resource)
NO_USAGES = Usages()
UNIQUE_VIOLATION = "23505"


def _nothing() -> None:
    """Writes nothing more than the plain columns."""


class ResourceService(ABC, Generic[Row]):
    """The resources of one kind, in one org.

    Each change locks its row before it reads what is there, so that changes at the same time come
    one after the other: none is lost, and the old values of an audit entry are the new ones of
    the entry before. What takes seconds (dbt, a source) is done before the lock.

    Args:
        rows: The rows of the kind.
        audit: Where changes are recorded.
    """

    def __init__(self, rows: ResourceRepository[Row], audit: AuditLog) -> None:
        self._session = rows.session
        self._org_id = rows.org_id
        self._resources = rows
        self._audit = audit

    def get(self, row_id: int) -> Row:
        """Returns a live row.

        Raises:
            NotFound: The org has none with that id.
        """
        return self._resources.get(row_id)

    def find(self, row_id: int) -> Row | None:
        """Returns a live row, None where the org has none with that id."""
        return self._resources.find(row_id)

    def require_live(self, row_id: int, *, hold: bool) -> Row:
        """Returns a row that another one refers to, with `hold` so that nobody deletes it.

        Raises:
            Conflict: It is deleted; the detail names it.
        """
        return self._resources.require_live(row_id, hold=hold)

    def list_all(self) -> Sequence[Row]:
        """Returns every live row, oldest first."""
        return self._resources.list_all()

    def page(self, after_id: int | None, limit: int) -> Sequence[Row]:
        """Returns the live rows after `after_id`, by id."""
        return self._resources.page_after(after_id, limit)

    def delete(
        self, row_id: int, if_match: IfMatch = ANY_VERSION, usages: Usages = NO_USAGES
    ) -> None:
        """Deletes a row softly.

        Raises:
            NotFound: The org has no such row.
            PreconditionFailed: It is another version by now.
            InvalidState: It is not the user's to change.
            Conflict: Something still uses it; the detail names what.
        """
        row = self._lock(row_id, if_match, to_delete=True)
        kind = self._resources.resource_type
        usages.refuse_if_used(self._session, self._org_id, kind, row.id, row.label)
        row.deleted_at = utc_now()
        self._session.flush()
        self._audit.record("delete", kind, row.id, old=self._audit_values(row))

    def restore(self, row_id: int) -> Row:
        """Makes a deleted row live again, checked as when it is created.

        Raises:
            NotFound: The org has no such row.
            InvalidState: It is not deleted.
            Conflict: Its name is taken, what it refers to is gone, or a check refuses it.
        """
        row = self._resources.get_deleted(row_id)
        deleted_at = row.deleted_at
        try:
            self._check_restorable(row)
        except Invalid as error:
            raise Conflict(
                f"The {self._resources.noun} '{row.label}' cannot be restored: {error.detail}",
                errors=error.errors,
            ) from None
        row = self._resources.get_deleted(row_id, lock=True)
        if row.deleted_at != deleted_at:
            raise self._moved(row)
        self._write(row, {"deleted_at": None, **self._values_when_restored()})
        self._hold_references(row)
        self._record("restore", row, old=None)
        return row

    @abstractmethod
    def _audit_values(self, row: Row) -> dict[str, Any]:
        """Returns what the audit log keeps of a row, without secrets."""

    def _taken(self, row: Row, name: str) -> Conflict:
        """Returns the error for a row whose name, or what else is unique, is taken.

        Args:
            row: The row that cannot be written.
            name: What it was to be called.
        """
        return Conflict(f"There is a {self._resources.noun} '{name}' already.")

    def _check_restorable(self, row: Row) -> None:
        """Checks what the row refers to and what it says; may take seconds, locks nothing."""

    def _hold_references(self, row: Row) -> None:
        """Refuses a row that refers to something deleted, and keeps the rest from deletion."""

    def _values_when_restored(self) -> dict[str, Any]:
        """Returns what a restored row has, beside being live, that it may not have had before."""
        return {}

    def _refuse_change(self, row: Row) -> None:
        """Refuses a row that is not the user's to change."""

    def _lock(self, row_id: int, if_match: IfMatch, *, to_delete: bool = False) -> Row:
        row = self._resources.lock(row_id, to_delete=to_delete)
        self._refuse_change(row)
        if_match.require(row.version)
        return row

    def _lock_checked(self, row_id: int, version: int, if_match: IfMatch) -> Row:
        """Locks a row whose change was checked, without a lock, against this version of it."""
        row = self._lock(row_id, if_match)
        if row.version != version:
            raise self._moved(row)
        return row

    def _create(self, row: Row) -> Row:
        self._flush(row, row.label, lambda: self._resources.add(row))
        self._hold_references(row)
        self._record("create", row, old=None)
        return row

    def _update(
        self, row: Row, values: dict[str, Any], more: Callable[[], object] = _nothing
    ) -> Row:
        """Writes values into a locked row; the log has an entry where that changes something.

        Args:
            row: The row.
            values: The columns to write.
            more: Writes what is no plain column of the row.
        """
        old, version = self._audit_values(row), row.version
        self._write(row, values, more)
        if row.version != version:
            self._hold_references(row)
            self._record("update", row, old=old)
        return row

    def _write(
        self, row: Row, values: dict[str, Any], more: Callable[[], object] = _nothing
    ) -> None:
        def write() -> None:
            for name, value in values.items():
                setattr(row, name, value)
            more()

        self._flush(row, values.get("name") or row.label, write)

    def _flush(self, row: Row, name: str, write: Callable[[], object]) -> None:
        try:
            with self._session.begin_nested():
                write()
        except IntegrityError as error:
            if getattr(error.orig, "sqlstate", None) != UNIQUE_VIOLATION:
                raise
            raise self._taken(row, name) from None

    def _record(self, action: str, row: Row, old: dict[str, Any] | None) -> None:
        kind = self._resources.resource_type
        self._audit.record(action, kind, row.id, old=old, new=self._audit_values(row))

    def _moved(self, row: Row) -> Conflict:
        return Conflict(
            f"The {self._resources.noun} {row.id} was changed by somebody else while this change "
            "was being checked; read it again and decide anew."
        )
