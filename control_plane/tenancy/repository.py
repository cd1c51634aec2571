"""Repositories that cannot be built, or read, without an org."""

from collections.abc import Collection, Sequence
from itertools import count
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import BigInteger, Select, func, select
from sqlalchemy.orm import Session

from control_plane.core.database import SoftDeleteMixin
from control_plane.core.errors import NotFound
from control_plane.tenancy.models import Organization, OrgOwned
from datanika_manifest.names import slugify

Row = TypeVar("Row", bound=OrgOwned)
MAXIMUM_BIGINT = 2**63 - 1


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
        if not 0 < row_id <= MAXIMUM_BIGINT:
            return None
        return self.session.scalar(self.base().where(self.model.id == row_id))

    def get(self, row_id: int) -> Row:
        """Returns the row.

        Raises:
            NotFound: This org has no such row; another org's looks the same.
        """
        row = self.find(row_id)
        if row is None:
            raise NotFound(f"There is no {self.noun} {row_id}.")
        return row

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

    def get(self, org_id: int) -> Organization:
        """Returns the org that the session is in.

        Raises:
            NotFound: It is another one, or none.
        """
        row = self.session.get(Organization, org_id)
        if row is None:
            raise NotFound("There is no such organization.")
        return row
