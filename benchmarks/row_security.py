"""What row-level security costs on Dagster's tables: a run's and the gateway's queries, with and without.

Runs and events of many orgs are made by SQL, with the sizes of real ones; every query is one of
Dagster's own. Quick: 5,000 runs. Full: 100,000 runs, 2 million events.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg
from dagster import AssetKey, DagsterRunStatus, RunsFilter
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.tags import SCHEDULE_NAME_TAG
from dagster._serdes import serialize_value
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from sqlalchemy import make_url

from benchmarks.harness import Measure
from benchmarks.workspace import Workspace
from datanika_dagster.row_security.installation import install, state_of
from datanika_dagster.row_security.statements import READERS, RUNS
from datanika_dagster.run_logins import url_of
from datanika_dagster.storage import StampingRunStorage
from datanika_stack.dagster_logins import DagsterLogins
from datanika_stack.locations import CodeLocation
from datanika_stack.postgres import EmbeddedPostgres

ORGS, EVENTS_PER_RUN, ROUNDS = 50, 20, 15
KEY = "benchmark"
_FILL = """
    INSERT INTO runs (run_id, pipeline_name, status, run_body, create_timestamp, update_timestamp)
    SELECT gen_random_uuid()::text, 'job', 'SUCCESS', %(body)s::text, now(), now()
    FROM generate_series(1, %(runs)s);
    UPDATE runs SET run_body = replace(run_body, 'RUN', run_id);
    INSERT INTO run_tags (run_id, key, value)
    SELECT run_id, tag.key, tag.value FROM runs, LATERAL (VALUES
        ('datanika/org', 'org' || id %% %(orgs)s), ('dagster/schedule_name', 'schedule_' || id %% 500),
        ('datanika/worker', repeat('w', 60)), ('.dagster/repository', repeat('r', 30))) AS tag (key, value);
    INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key)
    SELECT run_id, replace(%(event)s::text, 'RUN', run_id), CASE n WHEN 7 THEN 'ASSET_MATERIALIZATION' ELSE 'STEP_OUTPUT' END,
           now(), 'step', CASE n WHEN 7 THEN
           '["org' || id %% %(orgs)s || '", "warehouse", "raw", "t' || id %% 20 || '"]' END
    FROM runs, generate_series(1, %(events)s) AS n ORDER BY runs.id, n;
    INSERT INTO asset_keys (asset_key)
    SELECT '["org' || o || '", "warehouse", "raw", "t' || t || '"]'
    FROM generate_series(0, %(orgs)s - 1) AS o, generate_series(0, 19) AS t;
"""
_BODY = (
    '{"__class__": "PipelineRun", "pipeline_name": "job", "run_id": "RUN", "run_config": {},'
    ' "mode": null, "solid_selection": null, "solids_to_execute": null, "step_keys_to_execute":'
    ' null, "status": {"__enum__": "PipelineRunStatus.SUCCESS"}, "tags": {}, "root_run_id": null,'
    ' "parent_run_id": null, "pipeline_snapshot_id": null, "execution_plan_snapshot_id": null}'
)


def measure(workspace: Workspace) -> list[Measure]:
    runs = 5_000 if workspace.quick else 100_000
    cluster = EmbeddedPostgres(
        workspace.directory / "rows", workspace.port + 15, workspace.directory / "rs", "benchmark"
    )
    with cluster:
        owner_url = _prepare(cluster)
        started = time.monotonic()
        with psycopg.connect(cluster.dsn("dagster"), autocommit=True) as admin:
            fill = _FILL
            for name, value in {"runs": runs, "orgs": ORGS, "events": EVENTS_PER_RUN}.items():
                fill = fill.replace(f"%({name})s", str(value))
            for name, value in {"body": _BODY, "event": _event()}.items():
                fill = fill.replace(f"%({name})s", f"'{value}'")
            admin.execute(fill.replace("%%", "%").encode())
            admin.execute("VACUUM ANALYZE")
        print(f"{runs} runs, {runs * EVENTS_PER_RUN} events in {time.monotonic() - started:.0f} s")
        # Before the policies are there: the same queries as the owner.
        before = _queries(owner_url, owner_url)
        installed = _install(cluster, owner_url)
        run_url = url_of(owner_url, 1, KEY)
        return [
            *installed,
            *_measures("owner, before", before),
            *_measures("owner, with policies", _queries(owner_url, owner_url)),
            *_measures("an org's run", _queries(owner_url, run_url)),
        ]


def _event() -> str:
    """Returns a stored event of a usual size."""
    entry = EventLogEntry(
        error_info=None, level=20, user_message="m" * 700, run_id="RUN", timestamp=0.0,
        step_key="step", job_name="job",
    )  # fmt: skip
    return serialize_value(entry)


def _prepare(cluster: EmbeddedPostgres) -> str:
    with psycopg.connect(cluster.dsn(), autocommit=True) as admin:
        admin.execute("CREATE ROLE dagster LOGIN PASSWORD 'dagster'")
        admin.execute("CREATE ROLE provisioner LOGIN CREATEROLE PASSWORD 'provisioner'")
        admin.execute("GRANT SET ON PARAMETER temp_file_limit TO provisioner")
        for group in (RUNS, READERS):
            admin.execute(f"CREATE ROLE {group} NOLOGIN".encode())
            admin.execute(f"GRANT {group} TO provisioner WITH ADMIN OPTION".encode())
        admin.execute("CREATE DATABASE dagster OWNER dagster")
    with psycopg.connect(cluster.dsn("dagster"), autocommit=True) as admin:
        admin.execute("ALTER SCHEMA public OWNER TO dagster")
    url = cluster.url("dagster", "dagster", "dagster", driver="psycopg2")
    for storage in (StampingRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
        storage(url)
    return url


def _install(cluster: EmbeddedPostgres, owner_url: str) -> list[Measure]:
    dsn = cluster.dsn("dagster", "dagster", "dagster")
    with psycopg.connect(dsn, autocommit=True) as owner:
        first = _seconds(lambda: install(owner, "provisioner"))
        owner.execute("ANALYZE datanika.run_owners")
        nothing = _seconds(lambda: state_of(owner, "provisioner"))
    provisioner = make_url(cluster.url("dagster", "provisioner", "provisioner", driver="psycopg"))
    logins = DagsterLogins(provisioner, make_url(owner_url), KEY)
    one = _seconds(lambda: logins.ensure(CodeLocation(1, "org1", "a" * 64, "token")))
    return [
        Measure("installing, with the runs' owners filled in", first, "s"),
        Measure("finding that nothing has to be installed", nothing * 1000, "ms"),
        Measure("making one org's logins", one * 1000, "ms"),
    ]


def _queries(owner_url: str, url: str) -> dict[str, list[float]]:
    """Returns each query's milliseconds; connections are kept, as in a run and in the gateway."""
    runs, events = StampingRunStorage(url), PostgresEventLogStorage(url)
    for storage in (runs, events):
        storage.optimize_for_webserver(60_000, -1, 2)
    with psycopg.connect(
        make_url(owner_url).set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
    ) as owner:
        found = owner.execute(
            "SELECT run_id FROM run_tags WHERE key = 'datanika/org' AND value = 'org1'"
            " ORDER BY id DESC LIMIT 1"
        ).fetchone()
    assert found
    run_id = found[0]
    org = {"datanika/org": "org1"}
    asset = AssetKey(["org1", "warehouse", "raw", "t1"])
    asked: dict[str, Callable[[], Any]] = {
        "its run": lambda: runs.get_runs(RunsFilter(run_ids=[run_id])),
        "its run's events": lambda: _fetch(
            events, "SELECT id, event FROM event_logs WHERE run_id = %s ORDER BY id", run_id
        ),
        "its latest 25 runs": lambda: runs.get_runs(RunsFilter(tags=org), limit=25),
        "its runs of a schedule, unfinished": lambda: runs.get_run_ids(
            RunsFilter(
                statuses=[DagsterRunStatus.QUEUED], tags={SCHEDULE_NAME_TAG: "schedule_1"} | org
            ),
            limit=1,
        ),
        "how many runs it has": lambda: runs.get_runs_count(RunsFilter(tags=org)),
        "its runs, without a filter": lambda: runs.get_run_ids(limit=25),
        "an asset": lambda: events.get_asset_records([asset]),
        "an asset's materializations": lambda: _fetch(
            events,
            "SELECT id, event FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
            " AND asset_key = %s ORDER BY id DESC LIMIT 25",
            asset.to_string(),
        ),
        "all assets": events.all_asset_keys,
        "one event written": lambda: _write(events, run_id),
    }
    return {name: [_seconds(ask) * 1000 for _ in range(ROUNDS)] for name, ask in asked.items()}


def _write(events: PostgresEventLogStorage, run_id: str) -> None:
    with events.index_connection() as connection:
        connection.exec_driver_sql(
            "INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp)"
            " VALUES (%s, %s, 'STEP_OUTPUT', now())",
            (run_id, "e" * 900),
        )


def _fetch(events: PostgresEventLogStorage, query: str, value: str) -> None:
    with events.index_connection() as connection:
        connection.exec_driver_sql(query, (value,)).fetchall()


def _measures(who: str, found: dict[str, list[float]]) -> list[Measure]:
    return [
        Measure(f"{name} ({who})", statistics.median(times), "ms", rounds=tuple(times))
        for name, times in found.items()
    ]


def _seconds(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started
