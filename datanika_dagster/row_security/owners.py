"""Whose a run and a snapshot are, and whose login is whose: the tables behind every policy.

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

OWN_RUN: Final = "INSERT INTO datanika.run_owners (run_id, org) VALUES (:run_id, :org)"
OWN_SNAPSHOT: Final = (
    "INSERT INTO datanika.snapshot_owners (snapshot_id, org) VALUES (:snapshot_id, :org)"
    " ON CONFLICT DO NOTHING"
)

BACKFILL: Final = (
    """
    INSERT INTO datanika.run_owners (run_id, org)
    SELECT run_id, min(value) FROM public.run_tags
    WHERE key = 'datanika/org' AND run_id IS NOT NULL
    GROUP BY run_id HAVING count(DISTINCT value) = 1
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
