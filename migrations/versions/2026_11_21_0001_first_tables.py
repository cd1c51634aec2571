"""The first tables, row-level security and the lookups across orgs.

Expand first, backfill next, enforce last: each step must let the version before it go on working.
A new table of an org is passed to `migrations.security.protect`.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.security import APPLICATION_ROLE, grant, let_owner_read, protect

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GLOBAL_TABLES = ["users", "user_sessions", "refresh_tokens"]
ORG_TABLES = [
    "api_keys",
    "connections",
    "current_manifests",
    "dependencies",
    "discovered_tables",
    "freshness_policies",
    "launches",
    "memberships",
    "runs",
    "schedules",
    "task_tokens",
    "transformations",
    "uploads",
    "warehouses",
]


# The only functions that see more than one org (architecture, decision 19). They run as the owner
# of the tables, whose policy `lookup` lets them read, and return only what their caller asked for.
LOOKUPS = (
    """
    CREATE FUNCTION memberships_of(wanted bigint)
    RETURNS TABLE (org_id bigint, slug text, name text, role text, is_suspended boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT o.id, o.slug::text, o.name::text, m.role::text, o.is_suspended
        FROM memberships m JOIN organizations o ON o.id = m.org_id WHERE m.user_id = wanted
    $$
    """,
    """
    CREATE FUNCTION key_by_hash(wanted text)
    RETURNS TABLE (key_id bigint, name text, scopes jsonb, org_id bigint, slug text,
                   is_suspended boolean, creator_id bigint, creator_role text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT k.id, k.name::text, k.scopes, o.id, o.slug::text, o.is_suspended, m.user_id,
               m.role::text
        FROM api_keys k
        JOIN organizations o ON o.id = k.org_id
        JOIN memberships m ON m.org_id = k.org_id AND m.user_id = k.created_by_user_id
        WHERE k.key_hash = wanted AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now())
    $$
    """,
    """
    CREATE FUNCTION active_orgs() RETURNS TABLE (org_id bigint, slug text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT id, slug::text FROM organizations WHERE NOT is_suspended
    $$
    """,
)
LOOKUP_NAMES = ("memberships_of(bigint)", "key_by_hash(text)", "active_orgs()")


def upgrade() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("wrapped_data_key", sa.Text(), nullable=False),
        sa.Column("is_suspended", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
        sa.UniqueConstraint("slug", name="uq_organizations_slug"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("password_hash", sa.String(length=72), nullable=True),
        sa.Column("is_platform_operator", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("email = lower(email)", name="ck_users_email_lower"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_by_user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by_user_id"], ["users.id"], name="fk_api_keys_created_by_user_id_users"
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_api_keys_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("org_id", "id", name="uq_api_keys_org_id_id"),
        sa.UniqueConstraint("org_id", "key_hash", name="uq_api_keys_org_id_key_hash"),
    )
    op.create_index("ix_api_keys_key_hash", "api_keys", ["key_hash"], unique=False)
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.String(length=20), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_name", sa.String(length=320), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("resource_type", sa.String(length=60), nullable=False),
        sa.Column("resource_id", sa.String(length=100), nullable=True),
        sa.Column("old_values", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("new_values", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("ip_address", sa.String(length=45), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_audit_entries_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
        sa.UniqueConstraint("org_id", "id", name="uq_audit_entries_org_id_id"),
    )
    op.create_index(
        "ix_audit_entries_org_id_occurred_at",
        "audit_entries",
        ["org_id", "occurred_at"],
        unique=False,
    )
    op.create_table(
        "connections",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("connector", sa.String(length=40), nullable=False),
        sa.Column("direction", sa.String(length=20), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "direction IN ('source', 'destination', 'both')", name="ck_connections_direction_known"
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_connections_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.UniqueConstraint("org_id", "id", name="uq_connections_org_id_id"),
        sa.UniqueConstraint("org_id", "slug", name="uq_connections_org_id_slug"),
    )
    op.create_index(
        "uq_connections_live_name",
        "connections",
        ["org_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "dependencies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("upstream_type", sa.String(length=20), nullable=False),
        sa.Column("upstream_id", sa.BigInteger(), nullable=False),
        sa.Column("downstream_type", sa.String(length=20), nullable=False),
        sa.Column("downstream_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "upstream_type <> downstream_type OR upstream_id <> downstream_id",
            name="ck_dependencies_not_itself",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_dependencies_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_dependencies"),
        sa.UniqueConstraint("org_id", "id", name="uq_dependencies_org_id_id"),
    )
    op.create_index(
        "uq_dependencies_live_edge",
        "dependencies",
        ["org_id", "upstream_type", "upstream_id", "downstream_type", "downstream_id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "freshness_policies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("target_type", sa.String(length=20), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.String(length=63), nullable=True),
        sa.Column("max_age_seconds", sa.BigInteger(), nullable=True),
        sa.Column("deadline_cron", sa.String(length=200), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "severity IN ('warn', 'error')", name="ck_freshness_policies_severity_known"
        ),
        sa.CheckConstraint("max_age_seconds >= 60", name="ck_freshness_policies_age_evaluable"),
        sa.CheckConstraint(
            "num_nonnulls(max_age_seconds, deadline_cron) = 1",
            name="ck_freshness_policies_one_limit",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_freshness_policies_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_freshness_policies"),
        sa.UniqueConstraint("org_id", "id", name="uq_freshness_policies_org_id_id"),
    )
    op.create_index(
        "uq_freshness_policies_live_target",
        "freshness_policies",
        ["org_id", "target_type", "target_id", "table_name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "launches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("targets", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor_name", sa.String(length=320), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_launches_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_launches"),
        sa.UniqueConstraint("org_id", "idempotency_key", name="uq_launches_org_id_idempotency_key"),
    )
    op.create_table(
        "manifests",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_manifests_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_manifests"),
        sa.UniqueConstraint("org_id", "id", name="uq_manifests_org_id_id"),
        sa.UniqueConstraint("org_id", "sha256", name="uq_manifests_org_id_sha256"),
    )
    op.create_table(
        "memberships",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('viewer', 'editor', 'admin', 'owner')", name="ck_memberships_role_known"
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_memberships_org_id_organizations"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_memberships_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_memberships"),
        sa.UniqueConstraint("org_id", "user_id", name="uq_memberships_org_id_user_id"),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("trigger", sa.String(length=20), nullable=False),
        sa.Column("actor_name", sa.String(length=320), nullable=False),
        sa.Column("targets", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("asset_keys", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'success', 'failed', 'cancelled')",
            name="ck_runs_status_known",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_runs_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index(
        "ix_runs_org_id_created_at_id", "runs", ["org_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "schedules",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("cron", sa.String(length=200), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("target_type", sa.String(length=20), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_schedules_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
        sa.UniqueConstraint("org_id", "id", name="uq_schedules_org_id_id"),
    )
    op.create_index(
        "ix_schedules_org_id_target_type_target_id",
        "schedules",
        ["org_id", "target_type", "target_id"],
        unique=False,
    )
    op.create_table(
        "task_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.Column("connection_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor_name", sa.String(length=320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_task_tokens_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_task_tokens"),
        sa.UniqueConstraint("org_id", "token_hash", name="uq_task_tokens_org_id_token_hash"),
    )
    op.create_index(
        "ix_task_tokens_org_id_run_id", "task_tokens", ["org_id", "run_id"], unique=False
    )
    op.create_table(
        "user_sessions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_sessions_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_user_sessions"),
    )
    op.create_index("ix_user_sessions_user_id", "user_sessions", ["user_id"], unique=False)
    op.create_table(
        "current_manifests",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("manifest_id", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "manifest_id"],
            ["manifests.org_id", "manifests.id"],
            name="fk_current_manifests_org_id_manifest_id_manifests",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_current_manifests_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_current_manifests"),
        sa.UniqueConstraint("org_id", name="uq_current_manifests_org_id"),
    )
    op.create_table(
        "discovered_tables",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("schema_name", sa.String(length=128), nullable=False),
        sa.Column("table_name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("row_estimate", sa.BigInteger(), nullable=True),
        sa.Column("columns", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("primary_key", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("discovered_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id", "connection_id"],
            ["connections.org_id", "connections.id"],
            name="fk_discovered_tables_org_id_connection_id_connections",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_discovered_tables_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_discovered_tables"),
        sa.UniqueConstraint(
            "org_id", "connection_id", "schema_name", "table_name", name="uq_discovered_tables_name"
        ),
        sa.UniqueConstraint("org_id", "id", name="uq_discovered_tables_org_id_id"),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["user_sessions.id"], name="fk_refresh_tokens_session_id_user_sessions"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_refresh_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_refresh_tokens_token_hash"),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"], unique=False)
    op.create_table(
        "transformations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("schema_name", sa.String(length=63), nullable=False),
        sa.Column("sql", sa.Text(), nullable=False),
        sa.Column("materialization", sa.String(length=20), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tests", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "materialization IN ('view', 'table', 'incremental', 'ephemeral')",
            name="ck_transformations_materialization_known",
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "connection_id"],
            ["connections.org_id", "connections.id"],
            name="fk_transformations_org_id_connection_id_connections",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_transformations_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_transformations"),
        sa.UniqueConstraint("org_id", "id", name="uq_transformations_org_id_id"),
    )
    op.create_index(
        "uq_transformations_live_slug",
        "transformations",
        ["org_id", "connection_id", "slug"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("slug", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("source_connection_id", sa.BigInteger(), nullable=False),
        sa.Column("destination_connection_id", sa.BigInteger(), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["org_id", "destination_connection_id"],
            ["connections.org_id", "connections.id"],
            name="fk_uploads_org_id_destination_connection_id_connections",
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "source_connection_id"],
            ["connections.org_id", "connections.id"],
            name="fk_uploads_org_id_source_connection_id_connections",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_uploads_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.UniqueConstraint("org_id", "id", name="uq_uploads_org_id_id"),
        sa.UniqueConstraint("org_id", "slug", name="uq_uploads_org_id_slug"),
    )
    op.create_index(
        "uq_uploads_live_name",
        "uploads",
        ["org_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "warehouses",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'ready', 'failed')", name="ck_warehouses_state_known"
        ),
        sa.ForeignKeyConstraint(
            ["org_id", "connection_id"],
            ["connections.org_id", "connections.id"],
            name="fk_warehouses_org_id_connection_id_connections",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_warehouses_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_warehouses"),
        sa.UniqueConstraint("org_id", name="uq_warehouses_org_id"),
    )
    secure()


def secure() -> None:
    protect("organizations", rights="SELECT, INSERT, UPDATE", key="id")
    protect("audit_entries", rights="SELECT, INSERT")
    protect("manifests", rights="SELECT, INSERT")
    for table in ORG_TABLES:
        protect(table)
    for table in GLOBAL_TABLES:
        grant(table, "SELECT, INSERT, UPDATE")
    op.execute(f"REVOKE ALL ON alembic_version FROM {APPLICATION_ROLE}")
    let_owner_read(["organizations", "memberships", "api_keys"])
    for function in LOOKUPS:
        op.execute(function)
    for name in LOOKUP_NAMES:
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO {APPLICATION_ROLE}")


def downgrade() -> None:
    for name in LOOKUP_NAMES:
        op.execute(f"DROP FUNCTION {name}")
    op.drop_table("warehouses")
    op.drop_index(
        "uq_uploads_live_name", table_name="uploads", postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_table("uploads")
    op.drop_index(
        "uq_transformations_live_slug",
        table_name="transformations",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_table("transformations")
    op.drop_index("ix_refresh_tokens_session_id", table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_table("discovered_tables")
    op.drop_table("current_manifests")
    op.drop_index("ix_user_sessions_user_id", table_name="user_sessions")
    op.drop_table("user_sessions")
    op.drop_index("ix_task_tokens_org_id_run_id", table_name="task_tokens")
    op.drop_table("task_tokens")
    op.drop_index("ix_schedules_org_id_target_type_target_id", table_name="schedules")
    op.drop_table("schedules")
    op.drop_index("ix_runs_org_id_created_at_id", table_name="runs")
    op.drop_table("runs")
    op.drop_index("ix_memberships_user_id", table_name="memberships")
    op.drop_table("memberships")
    op.drop_table("manifests")
    op.drop_table("launches")
    op.drop_index(
        "uq_freshness_policies_live_target",
        table_name="freshness_policies",
        postgresql_where=sa.text("deleted_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.drop_table("freshness_policies")
    op.drop_index(
        "uq_dependencies_live_edge",
        table_name="dependencies",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_table("dependencies")
    op.drop_index(
        "uq_connections_live_name",
        table_name="connections",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_table("connections")
    op.drop_index("ix_audit_entries_org_id_occurred_at", table_name="audit_entries")
    op.drop_table("audit_entries")
    op.drop_index("ix_api_keys_key_hash", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("users")
    op.drop_table("organizations")
