"""Where somebody has launched a run: through the API, or in the Dagster UI."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "launches",
        sa.Column("trigger", sa.String(length=20), server_default="api", nullable=False),
    )


def downgrade() -> None:
    op.drop_column("launches", "trigger")
