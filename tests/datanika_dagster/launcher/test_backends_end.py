"""When a deadline kills a job, its work on the servers ends too, whatever its statements set.

The databases here have no `client_connection_check_interval` of their own, as an external server
may have none: the jobs set it for their sessions.
"""

import threading
import time
from contextlib import contextmanager

import dagster as dg
import pytest

from datanika_dagster.launcher import run_side
from datanika_dagster.launcher.job_processes import Terms
from tests.datanika_dagster.databases import LOOPBACK, new_database
from tests.datanika_dagster.support.manifests import SOURCE, WAREHOUSE, upload
from tests.datanika_dagster.support.tasks import ask
from tests.datanika_dagster.support.waiting import wait_for
from tests.datanika_dagster.transformations import projects

BACKENDS = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
    " and backend_type = 'client backend'"
)
DEADLINE_SECONDS = 10
FLIGHTS = ["acme", "warehouse", "raw", "flights"]


@pytest.fixture
def databases(postgres_cluster):
    with new_database(postgres_cluster) as source, new_database(postgres_cluster) as warehouse:
        for database in (source, warehouse):
            database.execute(
                f"alter database {database.name} set client_connection_check_interval = 0"
            )
        yield source, warehouse


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("DATANIKA_HOME", str(tmp_path))

    def materialize(entry, payload, secrets):
        @dg.multi_asset(specs=[dg.AssetSpec(dg.AssetKey(FLIGHTS))], can_subset=True)
        def step(context: dg.AssetExecutionContext):
            yield from run_side.run_job(
                context, entry, payload, secrets, Terms(1, DEADLINE_SECONDS)
            )

        with dg.instance_for_test() as instance:
            result = dg.materialize([step], instance=instance, raise_on_error=False)
        (event,) = [e for e in result.all_events if e.is_step_failure]
        return event.step_failure_data.user_failure_data.description

    return materialize


@contextmanager
def seen(database, wait_event):
    """Asserts that the job was stuck where the test wants it to be."""
    found, ended = threading.Event(), threading.Event()
    query = (
        "select count(*) from pg_stat_activity"
        f" where datname = current_database() and wait_event = '{wait_event}'"
    )

    def look():
        while not ended.wait(0.2) and not found.is_set():
            if database.value(query):
                found.set()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert found.is_set()


def assert_all_end(*databases):
    started = time.monotonic()
    for database in databases:
        wait_for(lambda database=database: database.value(BACKENDS) == 0, 10)
    assert time.monotonic() - started < 10


def test_an_upload_that_sleeps_in_its_source(run, databases):
    source, warehouse = databases
    source.execute("create view flights as select 1 as id from pg_sleep(600)")
    secrets = {SOURCE: source.secret, WAREHOUSE: warehouse.secret}
    with seen(source, "PgSleep"):
        assert "was stopped after" in run("upload", upload_payload(), secrets)
    assert_all_end(source, warehouse)


def test_an_upload_that_waits_for_a_lock_of_its_destination(run, databases):
    source, warehouse = databases
    source.execute("create table flights as select 1 as id")
    warehouse.execute("create schema raw", "create table raw.flights (id int, _dlt_load_id text)")
    secrets = {SOURCE: source.secret, WAREHOUSE: warehouse.secret}
    with warehouse.connect() as blocker, blocker.transaction():
        blocker.execute("lock table raw.flights in access exclusive mode")
        with seen(warehouse, "relation"):
            assert "was stopped after" in run("upload", upload_payload(), secrets)
        wait_for(lambda: warehouse.value(BACKENDS) == 1, 10)
    assert_all_end(source, warehouse)


def upload_payload():
    return {
        "upload": upload("acme", "flights").model_dump(mode="json"),
        "org": "acme",
        "run_id": "r1",
        "allowed_networks": LOOPBACK,
    }


def build_payload(task_host, projects_dir):
    """Parses a project whose one table takes ten minutes, and returns what builds it."""
    model = projects.model(
        "slow",
        "select 1 as n from pg_sleep(600)",
        materialization="table",
    )
    asked = projects.payload(projects.source(model), projects_dir)
    parsed = ask(task_host, "dbt_parse", asked)["value"]
    return {
        "project": {"connection": "warehouse", **parsed},
        "projects_dir": str(projects_dir),
        "nodes": [node["unique_id"] for node in parsed["nodes"]],
        "tests": [],
        "org": "acme",
        "org_id": 7,
        "run_id": "5b0f6c8e-0000",
        "allowed_networks": LOOPBACK,
    }


def test_a_model_that_takes_its_time_limit_off(run, databases, task_host, projects_dir):
    _, warehouse = databases
    warehouse.execute(f"alter database {warehouse.name} set statement_timeout = 0")
    payload = build_payload(task_host, projects_dir)
    with seen(warehouse, "PgSleep"):
        assert "was stopped after" in run("dbt_build", payload, {"warehouse": warehouse.secret})
    assert_all_end(warehouse)


def test_a_model_of_a_run_that_is_cancelled(
    databases, task_host, projects_dir, monkeypatch, tmp_path
):
    monkeypatch.setenv("DATANIKA_HOME", str(tmp_path))
    _, warehouse = databases
    payload, secrets = build_payload(task_host, projects_dir), {"warehouse": warehouse.secret}

    @dg.multi_asset(specs=[dg.AssetSpec(dg.AssetKey(FLIGHTS))], can_subset=True)
    def step(context: dg.AssetExecutionContext):
        with cancelled_once_it_sleeps(context.instance, context.run, warehouse):
            yield from run_side.run_job(context, "dbt_build", payload, secrets, Terms(7, 120))

    started = time.monotonic()
    with dg.instance_for_test() as instance:
        result = dg.materialize([step], instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(result.run_id)
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert time.monotonic() - started < 60, "neither the model nor the deadline was waited for"
    assert_all_end(warehouse)
    assert list((tmp_path / "work").iterdir()) == []
    assert warehouse.value("select count(*) from pg_class where relname like 'slow%'") == 0


@contextmanager
def cancelled_once_it_sleeps(instance, run, database):
    def cancel():
        query = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
        wait_for(lambda: database.value(f"{query} and datname = current_database()"), 60)
        instance.report_run_canceling(run)

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield
    finally:
        thread.join()
