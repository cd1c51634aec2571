"""The organization, its data keys, and the mixins of what belongs to one."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from control_plane.core.clock import utc_now
from control_plane.core.database import (
    Base,
    IdMixin,
    SoftDeleteMixin,
    TimestampMixin,
    VersionMixin,
)


class Organization(IdMixin, TimestampMixin, VersionMixin, SoftDeleteMixin, Base):
    """A tenant. Its slug is immutable: asset keys, code locations and URLs carry it.

    Without a quota of its own it has the platform's.
    """

    __tablename__ = "organizations"
    __table_args__ = (
        CheckConstraint("parallel_runs >= 0", name="parallel_runs_countable"),
        CheckConstraint("runs_per_hour >= 0", name="runs_per_hour_countable"),
    )

    slug: Mapped[str] = mapped_column(String(63), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    is_suspended: Mapped[bool] = mapped_column(default=False)
    parallel_runs: Mapped[int | None]
    runs_per_hour: Mapped[int | None]


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


class Resource(OrgOwned, TimestampMixin, VersionMixin, SoftDeleteMixin):
    """Something that people of an org make: it has versions, and comes back when it was deleted."""

    @property
    def label(self) -> str:
        """What messages call the row."""
        return str(getattr(self, "name", None) or self.id)


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


class DataKey(OrgOwned, Base):
    """A key that encrypts an org's secrets, itself encrypted by a key-encryption key.

    The newest one encrypts. An older one stays as long as a row needs it: rows name the key that
    opens them, so the database refuses to delete a key that something is still encrypted with.
    """

    __tablename__ = "data_keys"
    __table_args__ = (unique_in_org("id"),)

    wrapped_key: Mapped[str] = mapped_column(Text)
    key_encryption_key_id: Mapped[int | None] = mapped_column(
        ForeignKey("key_encryption_keys.id"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class SecretsMixin:
    """A row with secrets: one ciphertext, and the data key that opens it.

    The row's `__table_args__` has `*secrets_constraints()`. Only `tenancy/secrets.py` reads and
    writes these columns.
    """

    secrets: Mapped[str | None] = mapped_column(Text, sort_order=80)
    secrets_key_id: Mapped[int | None] = mapped_column(sort_order=81)


def secrets_constraints() -> tuple[Any, ...]:
    """The constraints of a table with `SecretsMixin`: a ciphertext always names its data key."""
    return (
        same_org("secrets_key_id", "data_keys"),
        CheckConstraint("(secrets IS NULL) = (secrets_key_id IS NULL)", name="secrets_have_a_key"),
    )
