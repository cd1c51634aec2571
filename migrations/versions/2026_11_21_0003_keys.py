"""Data keys in rows of their own, key-encryption keys, versions, and organizations that end.

A ciphertext names the data key that opens it, so that keys can be replaced while everything is
readable, and the database refuses to delete one that is still needed.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.security import (
    APPLICATION_ROLE,
    grant,
    let_owner_read,
    protect,
    without_row_level_security,
)

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

VERSIONED = [
    "connections",
    "dependencies",
    "freshness_policies",
    "memberships",
    "organizations",
    "schedules",
    "transformations",
    "uploads",
]

# Replaced or added; what each may see is said in revision 0001. A deleted org is nobody's.
MEMBERSHIPS_OF = """
    CREATE OR REPLACE FUNCTION memberships_of(wanted bigint)
    RETURNS TABLE (org_id bigint, slug text, name text, role text, is_suspended boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT o.id, o.slug::text, o.name::text, m.role::text, o.is_suspended
        FROM memberships m JOIN organizations o ON o.id = m.org_id
        WHERE m.user_id = wanted {and_not_deleted}
    $$
"""
KEY_BY_HASH = """
    CREATE OR REPLACE FUNCTION key_by_hash(wanted text)
    RETURNS TABLE (key_id bigint, name text, scopes jsonb, org_id bigint, slug text,
                   is_suspended boolean, creator_id bigint, creator_role text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT k.id, k.name::text, k.scopes, o.id, o.slug::text, o.is_suspended, m.user_id,
               m.role::text
        FROM api_keys k
        JOIN organizations o ON o.id = k.org_id
        JOIN memberships m ON m.org_id = k.org_id AND m.user_id = k.created_by_user_id
        JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL
        WHERE k.key_hash = wanted AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now()) {and_not_deleted}
    $$
"""
ACTIVE_ORGS = """
    CREATE OR REPLACE FUNCTION active_orgs() RETURNS TABLE (org_id bigint, slug text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT o.id, o.slug::text FROM organizations o WHERE NOT o.is_suspended {and_not_deleted}
    $$
"""
# For platform operators and for rotating keys: every org, and nothing that is inside one.
ALL_ORGS = """
    CREATE FUNCTION all_orgs()
    RETURNS TABLE (org_id bigint, slug text, name text, is_suspended boolean,
                   created_at timestamptz, deleted_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT id, slug::text, name::text, is_suspended, created_at, deleted_at
        FROM organizations
    $$
"""
# How far a rotation is: numbers alone, of all orgs together.
DATA_KEY_COUNTS = """
    CREATE FUNCTION data_key_counts()
    RETURNS TABLE (key_encryption_key_id bigint, data_keys bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT k.key_encryption_key_id, count(*) FROM data_keys k GROUP BY k.key_encryption_key_id
    $$
"""
NOT_DELETED = "AND o.deleted_at IS NULL"


def upgrade() -> None:
    op.create_table(
        "key_encryption_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("wrapped_key", sa.Text(), nullable=False),
        sa.Column("kdf", sa.String(length=20), nullable=False),
        sa.Column("kdf_parameters", postgresql.JSONB(), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_encryption_keys"),
    )
    op.create_table(
        "key_rotations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("requested_by", sa.String(length=320), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_key_rotations"),
    )
    op.create_table(
        "data_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_key", sa.Text(), nullable=False),
        sa.Column("key_encryption_key_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_encryption_key_id"],
            ["key_encryption_keys.id"],
            name="fk_data_keys_key_encryption_key_id_key_encryption_keys",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_data_keys_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_data_keys"),
        sa.UniqueConstraint("org_id", "id", name="uq_data_keys_org_id_id"),
    )
    op.create_index(
        "ix_data_keys_key_encryption_key_id", "data_keys", ["key_encryption_key_id"], unique=False
    )
    for table in VERSIONED:
        op.add_column(
            table, sa.Column("version", sa.BigInteger(), server_default="1", nullable=False)
        )
    op.add_column(
        "organizations", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("connections", sa.Column("secrets_key_id", sa.BigInteger(), nullable=True))
    move_data_keys()
    op.create_foreign_key(
        "fk_connections_org_id_secrets_key_id_data_keys",
        "connections",
        "data_keys",
        ["org_id", "secrets_key_id"],
        ["org_id", "id"],
    )
    op.create_check_constraint(
        "secrets_have_a_key", "connections", "(secrets IS NULL) = (secrets_key_id IS NULL)"
    )
    op.drop_column("organizations", "wrapped_data_key")
    secure()


def move_data_keys() -> None:
    with without_row_level_security("organizations", "connections"):
        op.execute(
            "INSERT INTO data_keys (org_id, wrapped_key, created_at)"
            " SELECT id, wrapped_data_key, created_at FROM organizations"
        )
        op.execute(
            "UPDATE connections c SET secrets_key_id = k.id FROM data_keys k"
            " WHERE k.org_id = c.org_id AND c.secrets IS NOT NULL"
        )


def secure() -> None:
    protect("data_keys")
    grant("key_encryption_keys", "SELECT, INSERT, UPDATE, DELETE")
    grant("key_rotations", "SELECT, INSERT, UPDATE")
    for function in (MEMBERSHIPS_OF, KEY_BY_HASH, ACTIVE_ORGS):
        op.execute(function.format(and_not_deleted=NOT_DELETED))
    let_owner_read(["data_keys"])
    for name, function in (("all_orgs", ALL_ORGS), ("data_key_counts", DATA_KEY_COUNTS)):
        op.execute(function)
        op.execute(f"REVOKE ALL ON FUNCTION {name}() FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name}() TO {APPLICATION_ROLE}")


def downgrade() -> None:
    """Takes back the tables; refuses where an org has no data key any more, or more than one."""
    op.execute("DROP FUNCTION all_orgs()")
    op.execute("DROP FUNCTION data_key_counts()")
    for function in (MEMBERSHIPS_OF, KEY_BY_HASH, ACTIVE_ORGS):
        op.execute(function.format(and_not_deleted=""))
    op.drop_constraint("secrets_have_a_key", "connections", type_="check")
    op.drop_constraint(
        "fk_connections_org_id_secrets_key_id_data_keys", "connections", type_="foreignkey"
    )
    op.add_column("organizations", sa.Column("wrapped_data_key", sa.Text(), nullable=True))
    with without_row_level_security("organizations", "data_keys"):
        # A subquery that finds two keys fails, and so does SET NOT NULL where it finds none.
        op.execute(
            "UPDATE organizations o SET wrapped_data_key ="
            " (SELECT k.wrapped_key FROM data_keys k"
            "  WHERE k.org_id = o.id AND k.key_encryption_key_id IS NULL)"
        )
        op.alter_column("organizations", "wrapped_data_key", nullable=False)
    op.drop_column("connections", "secrets_key_id")
    op.drop_column("organizations", "deleted_at")
    for table in VERSIONED:
        op.drop_column(table, "version")
    op.drop_table("data_keys")
    op.drop_table("key_encryption_keys")
    op.drop_table("key_rotations")
