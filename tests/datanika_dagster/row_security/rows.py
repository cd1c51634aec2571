"""A row of each of Dagster's tables, for any org, and what a test would change in it."""

import json
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL

from datanika_dagster.storage import StampingRunStorage
from tests.datanika_dagster.row_security.conftest import Org, Secured
from tests.datanika_dagster.test_storage import run_of

# The column that the matrix changes, by table; one that an org's login may change if it may any.
CHANGED = {
    "runs": "status",
    "run_tags": "value",
    "event_logs": "event",
    "asset_keys": "last_materialization",
    "asset_event_tags": "value",
    "asset_check_executions": "execution_status",
    "concurrency_limits": "limit",
    "concurrency_slots": "step_key",
    "pending_steps": "assigned_timestamp",
    "snapshots": "snapshot_type",
    "alembic_version": "version_num",
    "secondary_indexes": "name",
    "instance_info": "run_storage_id",
    "backfill_tags": "value",
    "bulk_actions": "status",
    "daemon_heartbeats": "body",
    "kvs": "value",
    "dynamic_partitions": "partition",
    "jobs": "status",
    "instigators": "status",
    "job_ticks": "status",
    "asset_daemon_asset_evaluations": "num_requested",
    "datanika.run_owners": "org",
    "datanika.backfill_owners": "org",
    "datanika.snapshot_owners": "org",
    "datanika.run_claims": "claimed_at",
    "datanika.logins": "org",
}

EVENT = '{"__class__": "EventLogEntry", "message": "as far as the database looks"}'


@dataclass(frozen=True)
class Owned:
    """What exists of an org."""

    org: Org
    run_id: str
    event_id: int


def key_of(org: Org, table: str = "flights") -> str:
    return json.dumps([org.org, "warehouse", "raw", table])


def fresh_row(table: str, owned: Owned) -> dict[str, Any]:
    """Returns a new row of an org, other than those before."""
    new = uuid.uuid4().hex
    org, run_id = owned.org, owned.run_id
    tick = {"status": "STARTED", "selector_id": f"{org.org} {new}"}
    body = json.dumps({"tags": {}, "run_id": new})
    return {
        "runs": {"run_id": new, "status": "STARTED", "run_body": body},
        "run_tags": {"run_id": run_id, "key": new, "value": "x"},
        "event_logs": {"run_id": run_id, "event": EVENT, "asset_key": key_of(org)},
        "asset_keys": {"asset_key": key_of(org, new), "last_run_id": run_id},
        "asset_event_tags": {
            "event_id": owned.event_id, "asset_key": key_of(org), "key": new, "value": "x",
        },
        "asset_check_executions": {
            "asset_key": key_of(org), "check_name": new, "run_id": run_id,
            "execution_status": "PLANNED",
        },
        "concurrency_limits": {"concurrency_key": f"{org.org}__dlt__{new}", "limit": 1},
        "concurrency_slots": {"concurrency_key": f"{org.org}__dlt__x", "deleted": False},
        "pending_steps": {
            "concurrency_key": f"{org.org}__dlt__x", "run_id": run_id, "step_key": new,
        },
        "snapshots": {"snapshot_id": new, "snapshot_body": b"x", "snapshot_type": "PIPELINE"},
        "alembic_version": {"version_num": new},
        "secondary_indexes": {"name": new},
        "instance_info": {"run_storage_id": new},
        "backfill_tags": {"backfill_id": new[:32], "key": "datanika/org", "value": org.org},
        "bulk_actions": {"key": new[:32], "status": "REQUESTED", "timestamp": "2026-01-01"},
        "daemon_heartbeats": {"daemon_type": new, "timestamp": "2026-01-01", "body": "{}"},
        "kvs": {"key": new, "value": "x"},
        "dynamic_partitions": {"partitions_def_name": f"{org.org}__{new}", "partition": "x"},
        "jobs": {"job_origin_id": new, **tick},
        "instigators": tick,
        "job_ticks": tick,
        "asset_daemon_asset_evaluations": {"evaluation_id": 1, "asset_key": key_of(org, new)},
        "datanika.run_owners": {"run_id": run_id, "org": org.org},
        "datanika.backfill_owners": {"backfill_id": new[:32], "org": org.org, "storage_id": 1},
        "datanika.snapshot_owners": {"snapshot_id": new, "org": org.org},
        "datanika.run_claims": {"run_id": run_id},
        "datanika.logins": {"login": f"x_{new}", "org_id": org.org_id, "org": org.org},
    }[table]  # fmt: skip


@cache
def owners_storage(owner: URL) -> StampingRunStorage:
    """Returns what gateway and daemon read and write runs with."""
    return StampingRunStorage(owner.render_as_string(hide_password=False))


def make_owned(secured: Secured, org: Org) -> Owned:
    """Stores a run of an org as the gateway does, and an event of it."""
    run = owners_storage(secured.owner).add_run(run_of(f"org_{org.org}"))
    with secured.as_owner() as connection:
        row = connection.execute(
            "INSERT INTO event_logs (run_id, event, asset_key) VALUES (%s, %s, %s) RETURNING id",
            [run.run_id, EVENT, key_of(org)],
        ).fetchone()
    assert row
    return Owned(org, run.run_id, row[0])


def insert(connection: psycopg.Connection, table: str, row: dict[str, Any]) -> None:
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        name_of(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Placeholder, row)),
    )
    connection.execute(statement, row)


def name_of(table: str) -> sql.Identifier:
    return sql.Identifier(*(table if "." in table else f"public.{table}").split("."))


def where(row: dict[str, Any]) -> sql.Composed:
    """Returns the condition that finds a row again by what it was made with."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in row
    )
