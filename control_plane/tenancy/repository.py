"""Repositories that cannot be built, or read, without an org."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import count
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal, select
from sqlalchemy.orm import Session

from control_plane.core.database import SoftDeleteMixin
from control_plane.core.errors import Conflict, InvalidState, NotFound
from control_plane.tenancy.models import Organization, OrgOwned, Resource
from datanika_manifest.names import slugify

Row = TypeVar("Row", bound=OrgOwned)
ResourceRow = TypeVar("ResourceRow", bound=Resource)
Deleted = Select[str, int, str, datetime]
"""Selects deleted rows: resource_type, id, name, deleted_at."""
MAXIMUM_BIGINT = 2**63 - 1
# A row that a session has read already may have changed before it was locked.
AS_IT_IS: dict[str, Any] = {"populate_existing": True}


class TenantRepository(Generic[Row]):
    """Reads and writes one table, always inside one org.

    Row-level security holds the same line in the database; neither relies on the other.
    """

    model: ClassVar[type[Any]]
    noun: ClassVar[str]

    def __init__(self, session: Session, org_id: int) -> None:
        self.session = session
        self.org_id = org_id

    def base(self) -> Select[Row]:
        """Returns the select that every read starts from: this org's live rows."""
        statement = select(self.model).where(self.model.org_id == self.org_id)
        if issubclass(self.model, SoftDeleteMixin):
            statement = statement.where(self.model.deleted_at.is_(None))
        return statement

    def find(self, row_id: int) -> Row | None:
        """Returns the row, None where this org has none with that id."""
        return self._find_in(self.base(), row_id)

    def get(self, row_id: int) -> Row:
        """Returns the row.

        Raises:
            NotFound: This org has no such row; another org's looks the same.
        """
        return self._found(self.find(row_id), row_id)

    def lock(self, row_id: int, *, to_delete: bool = False) -> Row:
        """Returns the row as it is now; nobody else changes it until the transaction ends.

        Whoever reads a row to write it back locks it first: no change between the two is lost,
        and what the audit log says was there before is what the last one has left.

        Args:
            row_id: Which row.
            to_delete: Waits also for those who hold the row because they refer to it.

        Raises:
            NotFound: This org has no such row; another org's looks the same.
        """
        statement = self.base().with_for_update(key_share=not to_delete)
        return self._found(self._find_in(statement.execution_options(**AS_IT_IS), row_id), row_id)

    def list_all(self) -> Sequence[Row]:
        """Returns every live row, oldest first."""
        return self.session.scalars(self.base().order_by(self.model.id)).all()

    def page_after(self, row_id: int | None, limit: int) -> Sequence[Row]:
        """Returns up to `limit` rows by id, those after `row_id` where it is given."""
        statement = self.base().order_by(self.model.id).limit(limit)
        if row_id is not None:
            statement = statement.where(self.model.id > row_id)
        return self.session.scalars(statement).all()

    def free_slug(self, name: str, *, fallback: str, reserved: Collection[str] = ()) -> str:
        """Returns a slug for `name` that no row has, deleted ones included: keys carry slugs.

        Args:
            name: What a person calls the row.
            fallback: What the slug starts with where the name gives no letter.
            reserved: Slugs that nobody's row may have.
        """
        base = slugify(name, fallback=fallback)[:55].rstrip("_")
        statement = select(self.model.slug).where(
            self.model.org_id == self.org_id, self.model.slug.startswith(base, autoescape=True)
        )
        taken = {*self.session.scalars(statement), *reserved}
        candidates = (base if number == 1 else f"{base}_{number}" for number in count(1))
        return next(slug for slug in candidates if slug not in taken)

    def add(self, row: Row) -> Row:
        """Inserts a row of this org and fills its id.

        Raises:
            ValueError: The row names another org: a mistake in the caller, never user input.
        """
        if row.org_id != self.org_id:
            raise ValueError(f"row of org {row.org_id} in a repository of org {self.org_id}")
        self.session.add(row)
        self.session.flush()
        return row

    def _find_in(self, statement: Select[Row], row_id: int) -> Row | None:
        if not 0 < row_id <= MAXIMUM_BIGINT:
            return None
        return self.session.scalar(statement.where(self.model.id == row_id))

    def _found(self, row: Row | None, row_id: int) -> Row:
        if row is None:
            raise NotFound(f"There is no {self.noun} {row_id}.")
        return row


class ResourceRepository(TenantRepository[ResourceRow]):
    """A table whose rows are deleted softly and can be restored."""

    resource_type: ClassVar[str]

    def get_deleted(self, row_id: int, *, lock: bool = False) -> ResourceRow:
        """Returns a deleted row.

        Args:
            row_id: Which row.
            lock: Whether nobody else may change it until the transaction ends.

        Raises:
            NotFound: This org has no such row; another org's looks the same.
            InvalidState: The row is not deleted.
        """
        statement = select(self.model).where(self.model.org_id == self.org_id)
        if lock:
            statement = statement.with_for_update(key_share=True).execution_options(**AS_IT_IS)
        row = self._found(self._find_in(statement, row_id), row_id)
        if row.deleted_at is None:
            raise InvalidState(f"The {self.noun} {row_id} is not deleted.")
        return row

    def require_live(self, row_id: int, *, hold: bool) -> ResourceRow:
        """Returns a row that another one refers to.

        Args:
            row_id: Which row; it exists.
            hold: Lets nobody delete it until the transaction ends. Changes of it, and others who
                refer to it, go on.

        Raises:
            Conflict: It is deleted; the detail names it.
        """
        statement = self.base()
        if hold:
            statement = statement.with_for_update(read=True, key_share=True)
            statement = statement.execution_options(**AS_IT_IS)
        row = self._find_in(statement, row_id)
        if row is None:
            gone = self.get_deleted(row_id)
            raise Conflict(f"The {self.noun} '{gone.label}' is deleted; restore it first.")
        return row

    def select_deleted(self) -> Deleted:
        """Returns the select of deleted rows: resource_type, id, name and deleted_at."""
        model = self.model
        return select(
            literal(self.resource_type).label("resource_type"),
            model.id.label("id"),
            self.name_column().label("name"),
            model.deleted_at.label("deleted_at"),
        ).where(model.org_id == self.org_id, model.deleted_at.is_not(None))

    def name_column(self) -> ColumnElement[str]:
        """Returns what a list calls a row."""
        return self.model.name


class OrganizationRepository:
    """Organizations; row-level security shows a session only its own."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def next_id(self) -> int:
        """Reserves an id: the session has to be inside the org before it can insert it."""
        sequence = func.pg_get_serial_sequence("organizations", "id")
        return self.session.execute(select(func.nextval(sequence).cast(BigInteger))).scalar_one()

    def add(self, organization: Organization) -> Organization:
        """Inserts an organization; the session must be inside it."""
        self.session.add(organization)
        self.session.flush()
        return organization

    def find(self, org_id: int) -> Organization | None:
        """Returns the org that the session is in, None where it is another one."""
        return self.session.get(Organization, org_id)

    def lock(self, org_id: int) -> Organization:
        """Returns the org that the session is in, which nobody else changes meanwhile.

        What refers to the org can be inserted all the same.

        Raises:
            NotFound: It is another one, or none.
        """
        row = self.session.scalar(
            select(Organization)
            .where(Organization.id == org_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        if row is None:
            raise NotFound("There is no such organization.")
        return row

    def get(self, org_id: int) -> Organization:
        """Returns the org that the session is in.

        Raises:
            NotFound: It is another one, or none.
        """
        row = self.find(org_id)
        if row is None:
            raise NotFound("There is no such organization.")
        return row
