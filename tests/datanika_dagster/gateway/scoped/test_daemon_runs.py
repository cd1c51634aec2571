"""Runs that the daemon makes are the org's whose code location they come from, whatever they say."""

import logging
import secrets
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster import RunsFilter
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.asset_daemon import AssetDaemon
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._time import get_current_timestamp
from sqlalchemy import text

from datanika_dagster.gateway.principal import Principal, Role
from datanika_dagster.gateway.scoped import scoped_instance
from datanika_manifest.run_records import ORG_TAG

LOGGER = logging.getLogger("datanika_dagster.tests.daemon")
DEFINITIONS = """
import dagster as dg

SPOOFED = {{"datanika/org": "globex", "datanika/worker": "x", "dagster/priority": "1000"}}

@dg.asset(key=["{org}", "w", "raw", "plain"])
def plain(): ...

@dg.asset(key=["{org}", "w", "raw", "daily"],
          partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def daily(): ...

@dg.asset(key=["{org}", "w", "raw", "eager"],
          automation_condition=dg.AutomationCondition.missing())
def eager(): ...

job = dg.define_asset_job("job", [plain])

@dg.schedule(cron_schedule="* * * * *", job=job,
             default_status=dg.DefaultScheduleStatus.RUNNING)
def schedule(): return dg.RunRequest(tags=SPOOFED)

@dg.sensor(job=job, default_status=dg.DefaultSensorStatus.RUNNING)
def sensor(): return dg.RunRequest(run_key="once", tags=SPOOFED)

automation = dg.AutomationConditionSensorDefinition(
    "automation", target=dg.AssetSelection.all(), run_tags=SPOOFED,
    default_status=dg.DefaultSensorStatus.RUNNING)

defs = dg.Definitions(assets=[plain, daily, eager], jobs=[job], schedules=[schedule],
                      sensors=[sensor, automation])
"""


@pytest.fixture(scope="module")
def org():
    return f"o{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def context(org, shared_dagster_home, tmp_path_factory):
    file = tmp_path_factory.mktemp("location") / "location.py"
    file.write_text(DEFINITIONS.format(org=org))
    target = PythonFileTarget(str(file), None, str(file.parent), f"org_{org}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared_dagster_home.environment.items():
            patch.setenv(name, value)
        with (
            shared_dagster_home.instance() as instance,
            WorkspaceProcessContext(instance, target) as context,
        ):
            yield context


def of_schedule(context, org):
    started = datetime.now(UTC)
    for minutes in (0, 2):
        list(launch_scheduled_runs(context, LOGGER, started + timedelta(minutes=minutes), {}))


def of_sensor(context, org):
    list(execute_sensor_iteration(context, LOGGER, None, None))


def of_backfill(context, org):
    location = context.create_request_context().get_code_location(f"org_{org}")
    graph = location.get_repository("__repository__").asset_graph
    principal = Principal(org, 1, Role.EDITOR, frozenset(), "somebody")
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id=secrets.token_hex(4),
        asset_graph=graph,
        partition_names=["a", "b"],
        asset_selection=[dg.AssetKey([org, "w", "raw", "daily"])],
        backfill_timestamp=get_current_timestamp(),
        tags={ORG_TAG: "globex", "datanika/worker": "x", "mine": "x"},
        dynamic_partitions_store=context.instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    scoped_instance(context.instance, principal, set).add_backfill(backfill)
    list(execute_backfill_iteration(context, LOGGER))
    stored = context.instance.get_backfill(backfill.backfill_id)
    assert stored.status is BulkActionStatus.REQUESTED


def of_automation(context, org):
    daemon = AssetDaemon(settings={}, pre_sensor_interval_seconds=30)
    daemon._run_iteration_impl(context, None, {}, {})


@pytest.mark.parametrize(
    ("look", "made_by"),
    [
        (of_schedule, {"dagster/schedule_name": "schedule"}),
        (of_sensor, {"dagster/sensor_name": "sensor"}),
        (of_backfill, {"mine": "x"}),
        (of_automation, {"dagster/sensor_name": "automation"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_are_their_origins(context, org, look, made_by):
    look(context, org)
    principal = Principal(org, 1, Role.VIEWER, frozenset(), "somebody")
    view = scoped_instance(context.instance, principal, set)
    # Of this look alone: the org is of this file alone.
    runs = view.get_runs(RunsFilter(tags=made_by))
    assert runs
    assert {run.tags[ORG_TAG] for run in runs} == {org}
    assert not any("datanika/worker" in run.tags for run in runs)
    assert {int(run.tags.get("dagster/priority", "0")) for run in runs} <= {0, 10}
    with context.instance.run_storage.connect() as connection:
        owners = connection.execute(
            text("SELECT DISTINCT org FROM datanika.run_owners WHERE run_id = ANY (:ids)"),
            {"ids": [run.run_id for run in runs]},
        ).fetchall()
    assert owners == [(org,)]
