"""A transformation's row."""

from typing import Any

from sqlalchemy import CheckConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.core.database import Base
from control_plane.tenancy.models import Resource, same_org, unique_in_org


class Transformation(Resource, Base):
    """A dbt model of one connection's project.

    `slug` is the last part of its asset key and follows the name. Two live models of a
    connection differ in it: names that differ only in case or punctuation are one file on some
    file systems and one table to people.
    """

    __tablename__ = "transformations"
    __table_args__ = (
        unique_in_org("id"),
        same_org("connection_id", "connections"),
        Index(
            "uq_transformations_live_slug",
            "org_id",
            "connection_id",
            "slug",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        CheckConstraint(
            "materialization IN ('view', 'table', 'incremental', 'ephemeral')",
            name="materialization_known",
        ),
    )

    connection_id: Mapped[int]
    name: Mapped[str] = mapped_column(String(63))
    slug: Mapped[str] = mapped_column(String(63))
    schema_name: Mapped[str] = mapped_column(String(63))
    sql: Mapped[str] = mapped_column(Text)
    materialization: Mapped[str] = mapped_column(String(20))
    description: Mapped[str] = mapped_column(Text)
    tests: Mapped[list[Any]]
