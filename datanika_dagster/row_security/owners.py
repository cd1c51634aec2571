"""Whose a run, a backfill and a snapshot are, and whose login is whose: the tables of every policy.

They are in a schema of their own, since those in `public` are Dagster's. The run storage writes
them in the transaction that stores a run; orgs' logins read their own rows and write none.
"""

from typing import Final

OWNER_TABLES: Final = (
    "CREATE SCHEMA IF NOT EXISTS datanika",
    """
    CREATE TABLE IF NOT EXISTS datanika.run_owners (
        run_id varchar(255) PRIMARY KEY REFERENCES public.runs (run_id) ON DELETE CASCADE,
        org text NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS run_owners_of_org ON datanika.run_owners (org, run_id)",
    # The run's place in Dagster's order, so that an org's newest runs are one stretch of an index.
    "ALTER TABLE datanika.run_owners ADD COLUMN IF NOT EXISTS storage_id bigint",
    "CREATE INDEX IF NOT EXISTS run_owners_in_order ON datanika.run_owners (org, storage_id)",
    """
    CREATE TABLE IF NOT EXISTS datanika.backfill_owners (
        backfill_id varchar(32) PRIMARY KEY REFERENCES public.bulk_actions (key) ON DELETE CASCADE,
        org text NOT NULL,
        storage_id bigint NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS backfill_owners_in_order"
    " ON datanika.backfill_owners (org, storage_id)",
    # A snapshot is named by its content: two orgs may be planned with the same one.
    """
    CREATE TABLE IF NOT EXISTS datanika.snapshot_owners (
        snapshot_id varchar(255) NOT NULL,
        org text NOT NULL,
        PRIMARY KEY (snapshot_id, org)
    )
    """,
    # The runs that some process has begun to execute.
    """
    CREATE TABLE IF NOT EXISTS datanika.run_claims (
        run_id varchar(255) PRIMARY KEY REFERENCES public.runs (run_id) ON DELETE CASCADE,
        claimed_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    # Which process it is; the claims of earlier versions do not say.
    "ALTER TABLE datanika.run_claims ADD COLUMN IF NOT EXISTS claimant text",
    """
    CREATE TABLE IF NOT EXISTS datanika.logins (
        login name PRIMARY KEY,
        org_id bigint NOT NULL CHECK (org_id > 0),
        org text NOT NULL
    )
    """,
)
"""Makes the tables; Dagster's own are there. Can be repeated."""

OWN_RUN: Final = (
    "INSERT INTO datanika.run_owners (run_id, org, storage_id) VALUES (:run_id, :org, :storage_id)"
)
OWN_BACKFILL: Final = (
    "INSERT INTO datanika.backfill_owners (backfill_id, org, storage_id)"
    " VALUES (:backfill_id, :org, :storage_id)"
)
OWN_SNAPSHOT: Final = (
    "INSERT INTO datanika.snapshot_owners (snapshot_id, org) VALUES (:snapshot_id, :org)"
    " ON CONFLICT DO NOTHING"
)

RUNS_OF: Final = "SELECT run_id FROM datanika.run_owners WHERE org = :org AND run_id = ANY (:ids)"
BACKFILLS_OF: Final = (
    "SELECT backfill_id FROM datanika.backfill_owners WHERE org = :org AND backfill_id = ANY (:ids)"
)
SNAPSHOTS_OF: Final = (
    "SELECT snapshot_id FROM datanika.snapshot_owners WHERE org = :org AND snapshot_id = ANY (:ids)"
)
"""Which of the ids are an org's."""

BACKFILL: Final = (
    """
    INSERT INTO datanika.run_owners (run_id, org)
    SELECT run_id, min(value) FROM public.run_tags
    WHERE key = 'datanika/org' AND run_id IS NOT NULL
    GROUP BY run_id HAVING count(DISTINCT value) = 1
    ON CONFLICT DO NOTHING
    """,
    """
    UPDATE datanika.run_owners AS owner SET storage_id = run.id FROM public.runs AS run
    WHERE owner.storage_id IS NULL AND run.run_id = owner.run_id
    """,
    """
    INSERT INTO datanika.backfill_owners (backfill_id, org, storage_id)
    SELECT key, body::json -> 'tags' ->> 'datanika/org', id FROM public.bulk_actions
    WHERE body::json -> 'tags' ->> 'datanika/org' IS NOT NULL
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO datanika.snapshot_owners (snapshot_id, org)
    SELECT DISTINCT planned.snapshot_id, planned.org FROM (
        SELECT run.snapshot_id, owner.org
        FROM public.runs AS run JOIN datanika.run_owners AS owner USING (run_id)
        UNION ALL
        SELECT run.run_body::jsonb ->> 'execution_plan_snapshot_id', owner.org
        FROM public.runs AS run JOIN datanika.run_owners AS owner USING (run_id)
    ) AS planned WHERE planned.snapshot_id IS NOT NULL
    ON CONFLICT DO NOTHING
    """,
)
"""Fills the tables from the stamps of runs that were stored before the tables were made."""
