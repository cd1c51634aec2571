"""What Dagster's storage holds, to see that nothing of it has changed."""

import sqlalchemy as db
from dagster import DagsterInstance

TABLES = (
    "asset_daemon_asset_evaluations",
    "asset_event_tags",
    "asset_keys",
    "backfill_tags",
    "bulk_actions",
    "concurrency_limits",
    "concurrency_slots",
    "dynamic_partitions",
    "event_logs",
    "instigators",
    "job_ticks",
    "jobs",
    "kvs",
    "pending_steps",
    "run_tags",
    "runs",
    "datanika.run_owners",
    "datanika.snapshot_owners",
)


def digest(instance: DagsterInstance) -> dict[str, str]:
    """Returns something of each table that differs when any of its rows does."""
    with instance.run_storage.connect() as connection:
        return {
            table: connection.execute(
                db.text(
                    f"SELECT md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM {table} t"
                )
            ).scalar_one()
            for table in TABLES
        }
