"""An org whose server sleeps: it is shown, keeps the state of its ticks, and is woken by whoever asks."""

import time
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.definitions.timestamp import TimestampWithTimezone

from datanika_dagster.run_logins import password_of, reader_login
from datanika_dagster.workspace.context import OrgWorkspace
from datanika_dagster.workspace.load_target import SupervisedWorkspace
from tests.datanika_dagster.support.control_plane_stand_in import ControlPlaneStandIn, serve
from tests.datanika_dagster.support.waiting import wait_for
from tests.fixtures.code_servers import LOGIN_KEY, TickedServers, manifest_of, ticked_servers

IDLE = timedelta(seconds=3)


@pytest.fixture
def control_plane() -> Iterator[ControlPlaneStandIn]:
    with serve(ControlPlaneStandIn()) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def reader(postgres_cluster) -> None:
    """The login of the code server of org 1, but that it can read everything."""
    name = reader_login(1)
    with psycopg.connect(postgres_cluster.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password_of(name, LOGIN_KEY)}'")
        connection.execute(f"GRANT pg_read_all_data TO {name}")


@pytest.fixture
def servers(control_plane, instance, dagster_home, reader) -> Iterator[TickedServers]:
    url = dagster_home.storage_url
    with ticked_servers(control_plane, dagster_home.path, url, idle_after=IDLE) as made:
        yield made
    for name in ("code_servers.json", "workspace.yaml"):
        (dagster_home.path / name).unlink(missing_ok=True)


def workspace(instance, dagster_home) -> OrgWorkspace:
    return OrgWorkspace(instance, SupervisedWorkspace(dagster_home.path / "workspace.yaml"))


def location(context, org="acme"):
    entry = context.get_current_workspace().code_location_entries.get(f"org_{org}")
    return entry.code_location if entry else None


def load_error(context, org):
    entry = context.get_current_workspace().code_location_entries.get(f"org_{org}")
    return entry.load_error.message if entry and entry.load_error else None


def tick(context, instance):
    (repository,) = location(context).get_repositories().values()
    (schedule,) = repository.get_schedules()
    return location(context).get_schedule_execution_data(
        instance=instance,
        repository_handle=schedule.handle.repository_handle,
        schedule_name=schedule.name,
        scheduled_execution_time=TimestampWithTimezone(time.time(), "UTC"),
        log_key=["log"],
    )


def test_it_sleeps_is_shown_ticks_and_changes(servers, instance, dagster_home):
    first = servers.publish(1, manifest_of("acme"))
    with workspace(instance, dagster_home) as context:
        wait_for(lambda: location(context), 60)
        servers.wait("acme", "asleep")
        wait_for(lambda: servers.info(1) is None, 20)
        assert location(context).server_id == first

        # What needs the process wakes it, and gets its answer.
        assert len(tick(context, instance).run_requests) == 1
        assert servers.entry("acme")["state"] == "serving"
        servers.wait("acme", "asleep")

        # A changed manifest is loaded by itself, and the server may sleep again.
        second = servers.publish(1, manifest_of("acme", tables=("flights", "planes")))
        wait_for(lambda: location(context).server_id == second, 30)
        servers.wait("acme", "asleep")
        wait_for(lambda: servers.info(1) is None, 20)

        assert len(list((dagster_home.path / "definitions" / "org_acme").iterdir())) == 1

    # Webserver and daemon that start anew have everything without waking anybody.
    with workspace(instance, dagster_home) as context:
        assert load_error(context, "acme")  # which is why the scheduler spares its ticks
        wait_for(lambda: location(context), 5)
        assert location(context).server_id == second
        selector = JobSubsetSelector("org_acme", "__repository__", "__ASSET_JOB", None)
        assert location(context).get_job(selector).asset_selection is None
        assert servers.info(1) is None
        keys = [dg.AssetKey(["acme", "warehouse", "raw", "planes"])]
        selector = JobSubsetSelector("org_acme", "__repository__", "__ASSET_JOB", None, keys)
        assert location(context).get_job(selector).asset_selection == set(keys)
        assert servers.entry("acme")["state"] == "serving"

        servers.suspend("acme")
        wait_for(lambda: not context.has_code_location("org_acme"), 5)
        assert context.code_location_names == []
        wait_for(lambda: not (dagster_home.path / "definitions" / "org_acme").exists(), 5)


def test_an_org_that_cannot_be_served_says_why_and_others_load(servers, instance, dagster_home):
    servers.list(2, "broken", "0" * 64)
    servers.publish(1, manifest_of("acme"))
    with workspace(instance, dagster_home) as context:
        wait_for(lambda: location(context), 60)
        reason = wait_for(
            lambda: (text := load_error(context, "broken")) and "fails" in text and text, 60
        )
        assert "Nothing is published" in reason


def test_before_a_tick_it_is_awake(servers, instance, dagster_home):
    del instance, dagster_home
    servers.publish(1, manifest_of("acme", cron="* * * * *"))
    servers.wait("acme", "serving")
    deadline = time.monotonic() + 75
    ticks = 0
    was_second = 59.0
    # Asleep at most in the first half of a minute: woken 30 seconds before each tick.
    while time.monotonic() < deadline and ticks < 1:
        second = time.time() % 60
        ticks += second < was_second
        was_second = second
        if second > 45:
            assert servers.entry("acme")["state"] == "serving"
        time.sleep(0.2)
