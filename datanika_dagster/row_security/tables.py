"""Which table of Dagster's belongs to whom, and what an org's logins may do with it.

Every table of the database is in `TABLES`: a version of Dagster that adds one fails a test by its
name, and until somebody has decided nobody but the owner of the tables can read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from datanika_dagster.row_security.run_rules import MOST_SLOTS, is_sane_time


class Owned(StrEnum):
    """What says whose a row is."""

    BY_RUN = "by_run"
    """`run_id`: the run's row in `datanika.run_owners`."""

    EVENT = "event"
    """A run's event; one without a run belongs to its asset key's org."""

    BY_ASSET_KEY = "by_asset_key"
    """`asset_key`: its first part is the org."""

    BY_POOL = "by_pool"
    """`concurrency_key`: its first part is the org (`specs.pool`)."""

    SNAPSHOT = "snapshot"
    """`snapshot_id`: an org's run was planned with it."""

    SETTING = "setting"
    """`key`: one of the instance's own, and no other of what the daemon keeps there."""

    SHARED = "shared"
    """Nobody's: it tells nothing of an org, and an org's login cannot write it."""

    WITHHELD = "withheld"
    """No org's login needs it: none may touch it."""


@dataclass(frozen=True)
class Table:
    """What orgs' logins may do with a table.

    Attributes:
        owned: What says whose a row is.
        reason: Why it is shared or withheld, else empty.
        runs: What a run may do, as GRANT says it; reading included.
        is_read: Whether a code server may read it.
        check: A condition more on what a run writes.
    """

    owned: Owned
    reason: str = ""
    runs: tuple[str, ...] = ()
    is_read: bool = True
    check: str = ""


OWN_RUN: Final = (
    "EXISTS (SELECT FROM datanika.run_owners AS owner WHERE owner.run_id = {table}.run_id)"
)
OWN_KEY: Final = "starts_with({table}.asset_key, (SELECT datanika.asset_key_prefix()))"
OWN_POOL: Final = "starts_with({table}.concurrency_key, (SELECT datanika.pool_prefix()))"
OWN_SNAPSHOT: Final = (
    "EXISTS (SELECT FROM datanika.snapshot_owners AS owner"
    " WHERE owner.snapshot_id = {table}.snapshot_id)"
)
NO_RUN: Final = "coalesce({table}.run_id, '') = ''"

VISIBLE: Final[Mapping[Owned, str]] = {
    Owned.BY_RUN: OWN_RUN,
    Owned.EVENT: f"{OWN_RUN} OR ({NO_RUN} AND {OWN_KEY})",
    Owned.BY_ASSET_KEY: OWN_KEY,
    Owned.BY_POOL: OWN_POOL,
    Owned.SNAPSHOT: OWN_SNAPSHOT,
    # Every process that loads definitions asks for it; it is empty here.
    Owned.SETTING: "{table}.key = '__latest_defs_state_info__'",
}
"""The condition on a row, by what says whose it is."""

# No table has a right to all of it but SELECT: who may delete, or update as a whole, may lock it
# against everybody. Nor does anybody choose an id, by which others remember how far they have read.
_OF_ASSET: Final = "last_materialization, last_run_id, last_materialization_timestamp"
_OF_CHECK: Final = (
    "partition, execution_status, evaluation_event, evaluation_event_timestamp,"
    " evaluation_event_storage_id, materialization_event_storage_id"
)

TABLES: Final[Mapping[str, Table]] = {
    "runs": Table(
        Owned.BY_RUN,
        # Not whose it is, what it runs nor where it came from: a trigger compares (`run_rules.py`). A
        # tag that is added writes the partition, too.
        runs=(
            "SELECT",
            "UPDATE (status, run_body, update_timestamp, start_time, end_time, partition,"
            " partition_set)",
        ),
    ),
    "run_tags": Table(
        Owned.BY_RUN, runs=("SELECT", "INSERT (run_id, key, value)", "UPDATE (value)")
    ),
    "event_logs": Table(
        Owned.EVENT,
        runs=(
            "SELECT",
            "INSERT (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)",
        ),
        check=f"{OWN_RUN} AND ({{table}}.asset_key IS NULL OR {OWN_KEY})"
        f" AND {is_sane_time('{table}.timestamp')} AND datanika.is_event({{table}}.event)",
    ),
    "asset_keys": Table(
        Owned.BY_ASSET_KEY,
        runs=(
            "SELECT",
            f"INSERT (asset_key, {_OF_ASSET})",
            f"UPDATE ({_OF_ASSET}, cached_status_data)",
        ),
        check=f"{OWN_KEY} AND ({{table}}.last_run_id IS NULL OR EXISTS (SELECT FROM"
        " datanika.run_owners AS owner WHERE owner.run_id = {table}.last_run_id))"
        f" AND {is_sane_time('{table}.last_materialization_timestamp')}",
    ),
    "asset_event_tags": Table(
        Owned.BY_ASSET_KEY,
        runs=("SELECT", "INSERT (event_id, asset_key, key, value, event_timestamp)"),
        check=f"{OWN_KEY} AND EXISTS (SELECT FROM event_logs AS event"
        " WHERE event.id = {table}.event_id)"
        f" AND {is_sane_time('{table}.event_timestamp')}",
    ),
    "asset_check_executions": Table(
        Owned.BY_ASSET_KEY,
        runs=(
            "SELECT",
            f"INSERT (asset_key, check_name, run_id, {_OF_CHECK})",
            f"UPDATE ({_OF_CHECK})",
        ),
        check=f"{OWN_KEY} AND {OWN_RUN} AND {{table}}.execution_status"
        " IN ('PLANNED', 'SUCCEEDED', 'FAILED')"
        f" AND {is_sane_time('{table}.evaluation_event_timestamp')}",
    ),
    "concurrency_limits": Table(
        Owned.BY_POOL,
        # The first run in a pool writes the default limit down.
        runs=(
            "SELECT",
            'INSERT (concurrency_key, "limit", using_default_limit)',
            'UPDATE ("limit", using_default_limit)',
        ),
        is_read=False,
        check=f'{OWN_POOL} AND {{table}}."limit" BETWEEN 0 AND {MOST_SLOTS}',
    ),
    "concurrency_slots": Table(
        Owned.BY_POOL,
        runs=(
            "SELECT",
            "INSERT (concurrency_key, run_id, step_key, deleted)",
            "UPDATE (run_id, step_key, deleted)",
        ),
        is_read=False,
        check=f"{OWN_POOL} AND ({{table}}.run_id IS NULL OR {OWN_RUN})",
    ),
    "pending_steps": Table(
        Owned.BY_POOL,
        runs=(
            "SELECT",
            "INSERT (concurrency_key, run_id, step_key, priority, assigned_timestamp)",
            "UPDATE (assigned_timestamp)",
        ),
        is_read=False,
        check=f"{OWN_POOL} AND {OWN_RUN} AND {is_sane_time('{table}.assigned_timestamp')}",
    ),
    "snapshots": Table(Owned.SNAPSHOT, runs=("SELECT",)),
    "alembic_version": Table(
        Owned.SHARED, reason="the version of the schema: one word", runs=("SELECT",)
    ),
    "secondary_indexes": Table(
        Owned.SHARED, reason="which of Dagster's data migrations have run", runs=("SELECT",)
    ),
    "instance_info": Table(Owned.SHARED, reason="the instance's own id: one row", runs=("SELECT",)),
    "backfill_tags": Table(Owned.WITHHELD, reason="only gateway and daemon have backfills"),
    "bulk_actions": Table(Owned.WITHHELD, reason="only gateway and daemon have backfills"),
    "daemon_heartbeats": Table(Owned.WITHHELD, reason="only the daemon's and its watchers'"),
    "kvs": Table(Owned.SETTING, runs=("SELECT",)),
    "dynamic_partitions": Table(Owned.WITHHELD, reason="no definition of ours has any"),
    "jobs": Table(Owned.WITHHELD, reason="schedules' and sensors' states are the daemon's"),
    "instigators": Table(Owned.WITHHELD, reason="schedules' and sensors' states are the daemon's"),
    "job_ticks": Table(Owned.WITHHELD, reason="ticks are the daemon's"),
    "asset_daemon_asset_evaluations": Table(
        Owned.WITHHELD, reason="evaluations are the daemon's and the gateway's"
    ),
}
"""Every table in the schema `public` of Dagster's database."""
