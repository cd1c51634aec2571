"""The organization, and the mixin of everything that belongs to one."""

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from control_plane.core.database import Base, IdMixin, TimestampMixin


class Organization(IdMixin, TimestampMixin, Base):
    """A tenant. Its slug is immutable: asset keys, code locations and URLs carry it."""

    __tablename__ = "organizations"

    slug: Mapped[str] = mapped_column(String(63), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    wrapped_data_key: Mapped[str] = mapped_column(Text)
    is_suspended: Mapped[bool] = mapped_column(default=False)


class OrgScoped:
    """A row of one org, whatever its key is."""

    @declared_attr
    @classmethod
    def org_id(cls) -> Mapped[int]:
        """The org that owns the row; row-level security compares it."""
        return mapped_column(
            BigInteger, ForeignKey("organizations.id"), nullable=False, sort_order=-9
        )


class OrgOwned(OrgScoped, IdMixin):
    """A row of one org, with an integer id.

    Tables that others refer to make `(org_id, id)` unique, so that foreign keys between tenants'
    tables are composite and can never point into another org.
    """


def unique_in_org(*columns: str, name: str | None = None) -> UniqueConstraint:
    """A unique constraint inside an org; a global one would reveal other orgs' names.

    Args:
        columns: The columns beside `org_id`.
        name: The constraint's name, where the conventional one passes PostgreSQL's 63 characters.
    """
    return UniqueConstraint("org_id", *columns, name=name)


def same_org(column: str, table: str, **options: str) -> ForeignKeyConstraint:
    """A foreign key to `table` that can only point at a row of the same org."""
    return ForeignKeyConstraint(
        ["org_id", column], [f"{table}.org_id", f"{table}.id"], ondelete=options.get("ondelete")
    )
