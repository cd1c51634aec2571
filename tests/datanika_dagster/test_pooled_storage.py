"""The daemon's connections to Dagster's storage are kept, and their loss is nobody's error."""

import psycopg
from sqlalchemy import make_url

from datanika_dagster.pooled_storage import keep_connections


def look(instance):
    instance.get_runs_count()
    instance.event_log_storage.get_concurrency_keys()
    instance.all_instigator_state()


def backends(postgres_cluster, instance, select):
    user = make_url(instance.run_storage.postgres_url).username
    with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as admin:
        query = f"SELECT {select} FROM pg_stat_activity WHERE usename = %s"
        return {row[0] for row in admin.execute(query, [user]).fetchall()}


def test_are_used_again(instance, postgres_cluster):
    keep_connections(instance)
    look(instance)
    before = backends(postgres_cluster, instance, "pid")
    look(instance)
    assert backends(postgres_cluster, instance, "pid") == before
    assert len(before) == 3


def test_lost_ones_are_replaced(instance, postgres_cluster):
    keep_connections(instance)
    look(instance)
    assert backends(postgres_cluster, instance, "pg_terminate_backend(pid)") == {True}
    look(instance)
