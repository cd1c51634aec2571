"""Edges by which a success launches what comes after it, and what such launches are recorded in."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from migrations.security import protect

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "dependencies", sa.Column("triggers_since", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("dependencies", sa.Column("fresh_within_seconds", sa.BigInteger(), nullable=True))
    op.create_check_constraint("freshness_positive", "dependencies", "fresh_within_seconds > 0")
    op.create_table(
        "reactions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("cause_type", sa.String(length=20), nullable=False),
        sa.Column("cause_id", sa.BigInteger(), nullable=False),
        sa.Column("occasion", sa.String(length=400), nullable=False),
        sa.Column("target_type", sa.String(length=20), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("launch_key", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "cause_type IN ('dependency', 'freshness')", name="ck_reactions_cause_known"
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'launched', 'skipped', 'failed', 'alerted')",
            name="ck_reactions_state_known",
        ),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_reactions_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_reactions"),
        sa.UniqueConstraint(
            "org_id",
            "cause_type",
            "cause_id",
            "occasion",
            name="uq_reactions_org_id_cause_type_cause_id_occasion",
        ),
    )
    op.create_index(
        "ix_reactions_pending",
        "reactions",
        ["org_id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    protect("reactions")


def downgrade() -> None:
    op.drop_table("reactions")
    op.drop_constraint("freshness_positive", "dependencies", type_="check")
    op.drop_column("dependencies", "fresh_within_seconds")
    op.drop_column("dependencies", "triggers_since")
