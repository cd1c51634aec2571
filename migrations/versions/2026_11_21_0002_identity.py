"""Invitations, sign-in by providers, password resets, throttling and the platform's own audit log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.security import grant, protect

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Whose work a token or a launch is: a user's, a key's or the platform's.
ACTED_FOR = ("launches", "task_tokens")
AUDIT_FILTERS = (["action"], ["resource_type", "resource_id"], ["actor_kind", "actor_id"])
AUDIT_INDEXES = [
    *(("audit_entries", ["org_id", *columns, "id"]) for columns in AUDIT_FILTERS),
    *(("platform_audit_entries", [*columns, "id"]) for columns in AUDIT_FILTERS),
]


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("invited_by_user_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mailed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role IN ('viewer', 'editor', 'admin', 'owner')", name="ck_invitations_role_known"
        ),
        sa.CheckConstraint("email = lower(email)", name="ck_invitations_email_lower"),
        sa.ForeignKeyConstraint(
            ["invited_by_user_id"], ["users.id"], name="fk_invitations_invited_by_user_id_users"
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_invitations_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.UniqueConstraint("org_id", "id", name="uq_invitations_org_id_id"),
        sa.UniqueConstraint("org_id", "token_hash", name="uq_invitations_org_id_token_hash"),
    )
    op.create_index(
        "uq_invitations_open_email",
        "invitations",
        ["org_id", "email"],
        unique=True,
        postgresql_where=sa.text("accepted_at IS NULL AND revoked_at IS NULL"),
    )
    op.create_table(
        "oauth_identities",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "provider IN ('google', 'github')", name="ck_oauth_identities_provider_known"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_oauth_identities_user_id_users"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_identities"),
        sa.UniqueConstraint("provider", "subject", name="uq_oauth_identities_provider_subject"),
        sa.UniqueConstraint("user_id", "provider", name="uq_oauth_identities_user_id_provider"),
    )
    op.create_table(
        "oauth_codes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("state_hash", sa.String(length=64), nullable=False),
        sa.Column("is_new_user", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_oauth_codes_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_oauth_codes"),
        sa.UniqueConstraint("code_hash", name="uq_oauth_codes_code_hash"),
        sa.UniqueConstraint("state_hash", name="uq_oauth_codes_state_hash"),
    )
    op.create_index("ix_oauth_codes_user_id", "oauth_codes", ["user_id"], unique=False)
    op.create_table(
        "password_resets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("is_mailed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_password_resets_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_password_resets"),
        sa.UniqueConstraint("token_hash", name="uq_password_resets_token_hash"),
    )
    op.create_index("ix_password_resets_user_id", "password_resets", ["user_id"], unique=False)
    op.create_table(
        "throttle_counters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_throttle_counters"),
        sa.UniqueConstraint("key_hash", name="uq_throttle_counters_key_hash"),
    )
    op.create_table(
        "platform_audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(length=20), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_name", sa.String(length=320), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("resource_type", sa.String(length=60), nullable=False),
        sa.Column("resource_id", sa.String(length=100), nullable=True),
        sa.Column("old_values", postgresql.JSONB(), nullable=True),
        sa.Column("new_values", postgresql.JSONB(), nullable=True),
        sa.Column("ip_address", sa.String(length=45), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_platform_audit_entries"),
    )
    op.create_index(
        "ix_platform_audit_entries_occurred_at",
        "platform_audit_entries",
        ["occurred_at"],
        unique=False,
    )
    for table, columns in AUDIT_INDEXES:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns, unique=False)
    for table in ACTED_FOR:
        op.add_column(table, sa.Column("actor_id", sa.BigInteger(), nullable=True))
        op.add_column(
            table,
            sa.Column("actor_kind", sa.String(length=20), server_default="system", nullable=False),
        )
    op.add_column("launches", sa.Column("ip_address", sa.String(length=45), nullable=True))
    op.add_column("launches", sa.Column("request_id", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_task_tokens_org_id_expires_at", "task_tokens", ["org_id", "expires_at"], unique=False
    )
    op.add_column("user_sessions", sa.Column("current_org_id", sa.BigInteger(), nullable=True))
    op.add_column("user_sessions", sa.Column("ip_address", sa.String(length=45), nullable=True))
    op.add_column("user_sessions", sa.Column("user_agent", sa.String(length=200), nullable=True))
    op.create_foreign_key(
        "fk_user_sessions_current_org_id_organizations",
        "user_sessions",
        "organizations",
        ["current_org_id"],
        ["id"],
    )
    op.add_column(
        "users", sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True)
    )
    secure()


def secure() -> None:
    protect("invitations", rights="SELECT, INSERT, UPDATE")
    grant("platform_audit_entries", "SELECT, INSERT")
    grant("oauth_identities", "SELECT, INSERT, DELETE")
    # What has expired is removed by the worker.
    for table in ("oauth_codes", "password_resets", "throttle_counters"):
        grant(table, "SELECT, INSERT, UPDATE, DELETE")
    for table in ("user_sessions", "refresh_tokens"):
        grant(table, "SELECT, INSERT, UPDATE, DELETE")


def downgrade() -> None:
    for table in ("user_sessions", "refresh_tokens"):
        grant(table, "SELECT, INSERT, UPDATE")
    op.drop_column("users", "email_verified_at")
    op.drop_constraint(
        "fk_user_sessions_current_org_id_organizations", "user_sessions", type_="foreignkey"
    )
    op.drop_index("ix_task_tokens_org_id_expires_at", table_name="task_tokens")
    op.drop_column("launches", "request_id")
    op.drop_column("launches", "ip_address")
    for table in ACTED_FOR:
        op.drop_column(table, "actor_id")
        op.drop_column(table, "actor_kind")
    op.drop_column("user_sessions", "user_agent")
    op.drop_column("user_sessions", "ip_address")
    op.drop_column("user_sessions", "current_org_id")
    for table, columns in AUDIT_INDEXES:
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table_name=table)
    op.drop_table("platform_audit_entries")
    op.drop_table("throttle_counters")
    op.drop_table("password_resets")
    op.drop_table("oauth_codes")
    op.drop_table("oauth_identities")
    op.drop_table("invitations")
