"""Runs and events of many orgs in one Dagster storage, made by SQL with the sizes of real ones."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from dagster import EventLogEntry
from dagster._serdes import serialize_value
from dagster_postgres.schedule_storage import PostgresScheduleStorage

from datanika_dagster.event_log import OrgsEventLogStorage
from datanika_dagster.storage import StampingRunStorage
from datanika_stack.postgres import EmbeddedPostgres

EVENTS_PER_RUN = 10
ASSETS_PER_ORG = 100
_FILL = (
    "CREATE TEMPORARY TABLE orgs AS SELECT org, number - 1 AS number"
    " FROM unnest(%(orgs)s::text[]) WITH ORDINALITY AS orgs (org, number)",
    # The orgs' runs lie mixed, as they come.
    """
    INSERT INTO runs (run_id, pipeline_name, status, run_body, create_timestamp, update_timestamp,
                      start_time, end_time)
    SELECT gen_random_uuid()::text, '__ASSET_JOB', 'SUCCESS', %(body)s, at, at,
           extract(epoch FROM at), extract(epoch FROM at) + 60
    FROM (SELECT now() AT TIME ZONE 'UTC' - (%(runs)s - n) * interval '1 second' AS at
          FROM generate_series(1, %(runs)s) AS n) AS times
    """,
    "UPDATE runs SET run_body = replace(run_body, 'RUN', run_id)",
    """
    INSERT INTO datanika.run_owners (run_id, org, storage_id)
    SELECT run_id, org, id FROM runs JOIN orgs ON number = id %% cardinality(%(orgs)s::text[])
    """,
    """
    INSERT INTO run_tags (run_id, key, value)
    SELECT run_id, tag.key, tag.value FROM datanika.run_owners, LATERAL (VALUES
        ('datanika/org', org), ('dagster/schedule_name', 'schedule_' || storage_id %% 500),
        ('datanika/worker', repeat('w', 60)), ('.dagster/repository', repeat('r', 30))
    ) AS tag (key, value)
    """,
    """
    INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key)
    SELECT run_id, replace(%(event)s, 'RUN', run_id), 'STEP_OUTPUT', create_timestamp, 'step'
    FROM runs, generate_series(1, %(events)s) AS n ORDER BY runs.id, n
    """,
    """
    INSERT INTO asset_keys (asset_key) SELECT '["' || org || '", "warehouse", "raw", "t' || n || '"]'
    FROM orgs, generate_series(0, %(assets)s - 1) AS n
    """,
)
_BODY = (
    '{"__class__": "PipelineRun", "pipeline_name": "__ASSET_JOB", "run_id": "RUN", "run_config": {},'
    ' "mode": null, "solid_selection": null, "solids_to_execute": null, "step_keys_to_execute":'
    ' null, "status": {"__enum__": "PipelineRunStatus.SUCCESS"}, "tags": {}, "root_run_id": null,'
    ' "parent_run_id": null, "pipeline_snapshot_id": null, "execution_plan_snapshot_id": null}'
)


@contextmanager
def run_history(directory: Path, port: int, orgs: Sequence[str], runs: int) -> Iterator[str]:
    """Serves a Dagster storage with so many runs, and takes it away again.

    Yields:
        Its SQLAlchemy URL, as the owner of the tables.
    """
    directory.mkdir(parents=True)
    password = secrets.token_hex(8)
    with EmbeddedPostgres(directory / "pg", port, directory / "s", password) as cluster:
        with psycopg.connect(cluster.dsn(), autocommit=True) as admin:
            admin.execute("CREATE ROLE dagster LOGIN PASSWORD 'dagster'")
            admin.execute("CREATE DATABASE dagster OWNER dagster")
        url = cluster.url("dagster", "dagster", "dagster", driver="psycopg2")
        for storage in (StampingRunStorage, OrgsEventLogStorage, PostgresScheduleStorage):
            storage(url)
        with psycopg.connect(cluster.dsn("dagster"), autocommit=True) as admin:
            _fill(admin, orgs, runs)
        yield url


def _fill(admin: psycopg.Connection, orgs: Sequence[str], runs: int) -> None:
    entry = EventLogEntry(
        error_info=None, level=20, user_message="m" * 700, run_id="RUN", timestamp=0.0,
        step_key="step", job_name="__ASSET_JOB",
    )  # fmt: skip
    values = {
        "orgs": list(orgs),
        "runs": runs,
        "events": EVENTS_PER_RUN,
        "assets": ASSETS_PER_ORG,
        "body": _BODY,
        "event": serialize_value(entry),
    }
    cursor = psycopg.ClientCursor(admin)
    for statement in _FILL:
        cursor.execute(statement.encode(), values)
    admin.execute("VACUUM ANALYZE")
