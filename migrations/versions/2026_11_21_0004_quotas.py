"""What an organization may run, set by the platform's operators."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from migrations.security import APPLICATION_ROLE

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ALL_ORGS = """
    CREATE FUNCTION all_orgs()
    RETURNS TABLE (org_id bigint, slug text, name text, is_suspended boolean,
                   created_at timestamptz, deleted_at timestamptz{columns})
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
        SELECT id, slug::text, name::text, is_suspended, created_at, deleted_at{values}
        FROM organizations
    $$
"""


def upgrade() -> None:
    for name in ("parallel_runs", "runs_per_hour"):
        op.add_column("organizations", sa.Column(name, sa.BigInteger(), nullable=True))
        op.create_check_constraint(f"{name}_countable", "organizations", f"{name} >= 0")
    _replace_all_orgs(
        columns=", parallel_runs bigint, runs_per_hour bigint",
        values=", parallel_runs, runs_per_hour",
    )


def downgrade() -> None:
    _replace_all_orgs(columns="", values="")
    for name in ("parallel_runs", "runs_per_hour"):
        op.drop_constraint(f"{name}_countable", "organizations", type_="check")
        op.drop_column("organizations", name)


def _replace_all_orgs(*, columns: str, values: str) -> None:
    op.execute("DROP FUNCTION all_orgs()")
    op.execute(ALL_ORGS.format(columns=columns, values=values))
    op.execute("REVOKE ALL ON FUNCTION all_orgs() FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION all_orgs() TO {APPLICATION_ROLE}")
