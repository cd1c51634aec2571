"""Signals over PostgreSQL: heard at once, not lost with a connection, sent for queued and ended runs."""

import time

import psycopg
import pytest
from dagster import DagsterInstance
from dagster._core.test_utils import create_run_for_test

from datanika_dagster import run_signals
from datanika_dagster.run_signals import Listener
from tests.datanika_dagster.support.waiting import wait_for

SECONDS = 10


@pytest.fixture
def listener(instance: DagsterInstance):
    with Listener(instance.run_storage.postgres_url) as listener:
        assert listener.wait(SECONDS), "what came before anybody listened counts, too"
        listener.take()
        yield listener


def end_backends(postgres_cluster):
    with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            [run_signals.CHANNEL],
        ).fetchall()
    assert ended


def test_a_signal_is_heard_once(instance, listener):
    run_signals.send(instance.run_storage)
    assert listener.wait(SECONDS)
    listener.take()
    assert not listener.wait(0.2)


def test_the_end_of_a_run_is_a_signal_and_its_start_is_none(instance, listener, monkeypatch):
    monkeypatch.setenv("DATANIKA_ORG", "acme")
    run = create_run_for_test(instance)
    instance.report_engine_event("on its way", run)
    assert not listener.wait(0.2)
    instance.report_run_failed(run)
    assert listener.wait(SECONDS)


def test_a_lost_connection_is_made_anew_and_counts_as_a_signal(
    instance, listener, postgres_cluster
):
    end_backends(postgres_cluster)
    assert listener.wait(SECONDS), "something may have been missed meanwhile"
    wait_for(lambda: listener.is_listening, SECONDS)
    listener.take()
    run_signals.send(instance.run_storage)
    assert listener.wait(SECONDS)


def test_nobody_waits_for_a_listener_that_stops(instance):
    with Listener(instance.run_storage.postgres_url) as listener:
        wait_for(lambda: listener.is_listening, SECONDS)
        started = time.monotonic()
    assert time.monotonic() - started < 1


def test_who_cannot_tell_goes_on(instance, caplog, monkeypatch):
    storage = instance.run_storage
    monkeypatch.setattr(run_signals, "CHANNEL", "x" * 100)  # longer than PostgreSQL allows
    run_signals.send(storage)
    assert "looks by itself" in caplog.text
