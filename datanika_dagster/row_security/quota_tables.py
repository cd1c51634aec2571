"""What each org may run, and what it has started within the hour: the tables behind `quotas.py`.

The daemon writes the one and the run storage the other; an org's code server reads its own rows.
"""

from typing import Final

QUOTA_TABLES: Final = (
    # The org '' is every org that has no row of its own.
    """
    CREATE TABLE IF NOT EXISTS datanika.quotas (
        org text PRIMARY KEY,
        parallel_runs integer NOT NULL CHECK (parallel_runs >= 0),
        runs_per_hour integer CHECK (runs_per_hour >= 0)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS datanika.launches (
        org text NOT NULL,
        launched_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # Whose turn it is to be counted: the row is locked as long as an org's run is being stored.
    "CREATE TABLE IF NOT EXISTS datanika.launch_turns (org text PRIMARY KEY)",
    "CREATE INDEX IF NOT EXISTS launches_of_org ON datanika.launches (org, launched_at)",
)
"""Makes the tables; can be repeated."""
