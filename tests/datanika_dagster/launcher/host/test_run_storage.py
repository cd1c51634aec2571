"""A run's process speaks to Dagster's storage over few connections, and outlives their loss."""

import time

import psycopg
import pytest
from dagster._serdes import serialize_value
from sqlalchemy import make_url

from datanika_dagster.launcher.host import pooled_storage
from datanika_dagster.launcher.host.dagster_internals import open_instance


@pytest.fixture
def of_run(instance):
    """The instance as a run opens it."""
    with open_instance(serialize_value(instance.get_ref())) as opened:
        pooled_storage.keep_connections(opened)
        yield opened


def look(instance):
    instance.get_runs_count()
    instance.event_log_storage.get_concurrency_keys()
    instance.all_instigator_state()


def backends(postgres_cluster, instance, select="pid"):
    user = make_url(instance.run_storage.postgres_url).username
    with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as admin:
        query = f"SELECT {select} FROM pg_stat_activity WHERE usename = %s"
        return [row[0] for row in admin.execute(query, [user]).fetchall()]


def test_it_does_not_look_for_its_tables(of_run):
    storages = (of_run.run_storage, of_run.event_log_storage, of_run.schedule_storage)
    assert [storage.should_autocreate_tables for storage in storages] == [False, False, False]


def test_the_storages_share_a_connection(of_run, postgres_cluster):
    of_others = {*backends(postgres_cluster, of_run)}
    look(of_run)
    before = {*backends(postgres_cluster, of_run)} - of_others
    look(of_run)
    assert {*backends(postgres_cluster, of_run)} - of_others == before
    assert len(before) == 1


def test_a_lost_one_is_replaced(of_run, postgres_cluster, monkeypatch):
    monkeypatch.setattr(pooled_storage, "ASK_AFTER_SECONDS", 0.0)
    look(of_run)
    assert set(backends(postgres_cluster, of_run, "pg_terminate_backend(pid)")) == {True}
    time.sleep(0.1)
    look(of_run)


def test_no_statement_takes_for_ever(of_run):
    with of_run.run_storage.connect() as connection:
        timeout = connection.exec_driver_sql("SHOW statement_timeout").scalar()
    assert timeout == "5min"
