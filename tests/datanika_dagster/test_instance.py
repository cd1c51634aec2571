"""The instance file that the product ships, and the workspace for the command line."""

import subprocess
import sys
from pathlib import Path

import yaml
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from datanika_dagster.launcher.run_launcher import DatanikaRunLauncher
from datanika_dagster.step_logs import StepLogs
from datanika_dagster.storage import StampingRunStorage
from tests.datanika_dagster.support.control_plane_stand_in import ControlPlaneStandIn, serve
from tests.datanika_dagster.support.instances import TEMPLATE
from tests.datanika_dagster.support.manifests import manifest

WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"


def test_the_shipped_file_makes_our_instance(instance):
    assert isinstance(instance.run_storage, StampingRunStorage)
    assert isinstance(instance.run_launcher, DatanikaRunLauncher)
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert instance.run_coordinator.dequeue_interval_seconds == 1
    assert isinstance(instance.compute_log_manager, StepLogs)
    assert not instance.telemetry_enabled
    assert instance.run_monitoring_enabled
    assert instance.global_op_concurrency_default_limit == 1
    config = instance.get_concurrency_config().run_queue_config
    assert config.max_concurrent_runs == 10
    assert not config.tag_concurrency_limits, "what an org may have of them is its quota"


def test_the_shipped_file_holds_no_value_of_an_installation():
    variables = {
        value["env"]
        for value in values(yaml.safe_load(TEMPLATE.read_text()))
        if isinstance(value, dict) and "env" in value
    }
    assert variables == {"DATANIKA_DAGSTER_STORAGE_URL"}


def test_the_command_line_validates_the_committed_workspace(dagster_home):
    with serve(ControlPlaneStandIn()) as control_plane:
        control_plane.publish(manifest())
        done = subprocess.run(
            [
                *[sys.executable, "-m", "dagster", "definitions", "validate"],
                *["-w", str(WORKSPACE)],
            ],
            env={
                "PATH": "/usr/bin:/bin",
                "DATANIKA_CONTROL_PLANE_URL": control_plane.url,
                "DATANIKA_ORG": "acme",
                "DATANIKA_API_KEY": "dtn_key",
            }
            | dagster_home.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]


def values(node):
    yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from values(child)
