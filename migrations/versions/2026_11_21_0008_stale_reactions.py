"""What follows when an asset is not fresh any more."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "freshness_policies",
        sa.Column("reaction", sa.String(length=20), server_default="none", nullable=False),
    )
    op.add_column(
        "freshness_policies",
        sa.Column("maximum_launches", sa.BigInteger(), server_default="3", nullable=False),
    )
    op.create_check_constraint(
        "reaction_known", "freshness_policies", "reaction IN ('none', 'launch', 'alert')"
    )
    op.create_check_constraint(
        "launches_bounded", "freshness_policies", "maximum_launches BETWEEN 1 AND 100"
    )


def downgrade() -> None:
    for name in ("reaction_known", "launches_bounded"):
        op.drop_constraint(name, "freshness_policies", type_="check")
    for name in ("reaction", "maximum_launches"):
        op.drop_column("freshness_policies", name)
