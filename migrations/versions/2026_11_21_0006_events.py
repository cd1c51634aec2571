"""What happens in an org, in an order that a client can resume from, and who hears of it.

PostgreSQL writes the events of runs itself, when a transaction that changed a run's status commits:
no code path can forget one.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.security import protect

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Ids are given out and become visible in the same order within an org: whoever has read up to one
# has missed none before it. The lock is held from here to the end of the transaction, and this is
# the last thing that a transaction does. Nobody needs a right on a trigger's function to fire it.
RUN_CHANGED = """
    CREATE FUNCTION run_changed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
    DECLARE entered text := current_setting('app.org_id', true);
    BEGIN
        -- The transaction may be in another org by now; whoever wrote the run was in this one.
        PERFORM set_config('app.org_id', NEW.org_id::text, true);
        PERFORM pg_advisory_xact_lock(hashtextextended('events', NEW.org_id));
        INSERT INTO events (org_id, kind, subject, payload, created_at)
        VALUES (NEW.org_id, 'run.' || NEW.status, NEW.id, jsonb_build_object(
            'status', NEW.status,
            'previous_status', CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END,
            'trigger', NEW.trigger), clock_timestamp());
        PERFORM pg_notify('datanika_events', NEW.org_id::text);
        PERFORM set_config('app.org_id', coalesce(entered, ''), true);
        RETURN NULL;
    END $$
"""
TRIGGERS = (
    """
    CREATE CONSTRAINT TRIGGER run_inserted AFTER INSERT ON runs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION run_changed()
    """,
    """
    CREATE CONSTRAINT TRIGGER run_status_changed AFTER UPDATE ON runs
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION run_changed()
    """,
)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("org_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=100), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["org_id"], ["organizations.id"], name="fk_events_org_id_organizations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("org_id", "id", name="uq_events_org_id_id"),
    )
    op.create_index("ix_events_org_id_created_at", "events", ["org_id", "created_at"])
    protect("events", rights="SELECT, INSERT, DELETE")
    op.execute(RUN_CHANGED)
    op.execute("REVOKE ALL ON FUNCTION run_changed() FROM PUBLIC")
    for trigger in TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    op.execute("DROP TRIGGER run_inserted ON runs")
    op.execute("DROP TRIGGER run_status_changed ON runs")
    op.execute("DROP FUNCTION run_changed()")
    op.drop_table("events")
