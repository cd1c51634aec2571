"""Fills every table of an org with a row, from the metadata alone: a new table is filled, too.

What a check constraint asks for is said in `VALUES`; a new table whose checks a plain value does
not meet makes the tests fail until it is said there.
"""

import secrets
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    ForeignKeyConstraint,
    String,
    Table,
    insert,
)
from sqlalchemy.dialects.postgresql import JSONB

from control_plane.core.clock import utc_now
from control_plane.core.database import Base
from tests.architecture.test_tables import ORG_TABLES

VALUES: dict[tuple[str, str], Any] = {
    ("connections", "direction"): "source",
    ("freshness_policies", "max_age_seconds"): 3600,
    ("freshness_policies", "reaction"): "none",
    ("freshness_policies", "severity"): "warn",
    ("invitations", "role"): "viewer",
    ("memberships", "role"): "owner",
    ("reactions", "cause_type"): "dependency",
    ("reactions", "state"): "pending",
    ("runs", "status"): "success",
    ("transformations", "materialization"): "view",
    ("connections", "secrets"): "ciphertext",
    ("warehouses", "state"): "ready",
}
# Nullable columns that a foreign key inside the org has are filled as well: they are what is tested.
TABLES = [table for table in Base.metadata.sorted_tables if table.name in ORG_TABLES]
OWNER_COLUMN = {table.name: "id" if table.name == "organizations" else "org_id" for table in TABLES}

Row = dict[str, Any]


def links(table: Table) -> list[ForeignKeyConstraint]:
    """Returns the composite foreign keys of a table: those to another table of the same org."""
    return [key for key in table.foreign_key_constraints if len(key.column_keys) == 2]


def link_column(key: ForeignKeyConstraint) -> str:
    """Returns the column of a composite foreign key that is not the org."""
    return next(name for name in key.column_keys if name != "org_id")


def new_row(table: Table, org_id: int, user_id: int, others: dict[str, Row]) -> Row:
    """Returns the values of a new row.

    Args:
        table: Of which table.
        org_id: Whose row it is.
        user_id: For columns that name a user.
        others: The org's rows of the tables that it may refer to.
    """
    linked = {link_column(key): others[key.referred_table.name]["id"] for key in links(table)}
    users = {
        key.column_keys[0]
        for key in table.foreign_key_constraints
        if key.referred_table.name == "users"
    }
    row: Row = {OWNER_COLUMN[table.name]: org_id, **linked, **dict.fromkeys(users, user_id)}
    for column in table.columns:
        if column.name in row or column.identity is not None:
            continue
        if (table.name, column.name) in VALUES:
            row[column.name] = VALUES[table.name, column.name]
        elif not column.nullable:
            row[column.name] = _value(column)
    return row


def _value(column: Column[Any]) -> Any:
    if isinstance(column.type, JSONB):
        return {}
    if isinstance(column.type, DateTime):
        return utc_now()
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, BigInteger):
        return 1
    if isinstance(column.type, String):
        return secrets.token_hex(8)
    raise TypeError(f"say in VALUES what {column} takes")


def fill(connection: Connection, org_id: int, user_id: int) -> dict[str, Row]:
    """Inserts a row of the org into each table; the connection is inside it, the org exists."""
    rows: dict[str, Row] = {"organizations": {"id": org_id}}
    for table in TABLES:
        if table.name in rows:
            continue
        values = new_row(table, org_id, user_id, rows)
        returned = connection.execute(insert(table).values(values).returning(*table.primary_key))
        rows[table.name] = {**values, **returned.one()._mapping}
    return rows
