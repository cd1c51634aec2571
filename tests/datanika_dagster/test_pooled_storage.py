"""The daemon's connections to Dagster's storage are kept, and their loss is nobody's error."""

import psycopg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from datanika_dagster.launcher.host import pooled_storage
from datanika_dagster.pooled_storage import keep_connections

FAILED_STEP = JobFailureData(None, RunFailureReason.STEP_FAILURE)


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
    of_others = backends(postgres_cluster, instance, "pid")
    keep_connections(instance)
    look(instance)
    before = backends(postgres_cluster, instance, "pid") - of_others
    look(instance)
    assert backends(postgres_cluster, instance, "pid") - of_others == before
    assert len(before) == 3


def test_lost_ones_are_replaced(instance, postgres_cluster):
    keep_connections(instance)
    look(instance)
    assert backends(postgres_cluster, instance, "pg_terminate_backend(pid)") == {True}
    look(instance)


def test_a_run_that_fails_after_a_loss_may_be_done_again(instance, postgres_cluster):
    pooled_storage.keep_connections(instance)
    lost, untouched = (create_run_for_test(instance) for _ in range(2))
    instance.report_run_failed(untouched, job_failure_data=FAILED_STEP)
    assert backends(postgres_cluster, instance, "pg_terminate_backend(pid)") == {True}
    with pytest.raises(OperationalError):
        # A connection that has just been used is not asked first.
        look(instance)
    instance.report_run_failed(lost, job_failure_data=FAILED_STEP)
    tags = instance.get_run_by_id(lost.run_id).tags
    assert tags["dagster/failure_reason"] == "STEP_FAILURE"
    assert tags["dagster/will_retry"] == "true"
    assert instance.get_run_by_id(untouched.run_id).tags["dagster/will_retry"] == "false"
