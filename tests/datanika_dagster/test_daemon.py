"""The daemon knows of new code locations at once, also of those that come while it starts."""

import time

import pytest
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.daemon import MonitoringDaemon

from datanika_dagster.daemon import PromptDaemonController


@pytest.fixture
def workspace_file(socket_directory):
    path = socket_directory / "workspace.yaml"
    path.write_text(yaml.safe_dump({"load_from": []}))
    return path


def add_org(workspace_file, org):
    # Nobody listens there: that is a location with an error, and known all the same.
    server = {"socket": str(workspace_file.with_name(org)), "location_name": f"org_{org}"}
    new = workspace_file.with_suffix(".new")
    new.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    new.replace(workspace_file)


@pytest.mark.filterwarnings("ignore:Error loading repository location")
def test_a_location_is_known_as_soon_as_the_file_names_it(instance, workspace_file):
    PromptDaemonController.watch(workspace_file)
    with WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace_file)])) as context:
        add_org(workspace_file, "early")
        with PromptDaemonController(context, [MonitoringDaemon(interval_seconds=5)]) as daemon:
            daemon.check_workspace_freshness(time.time())
            assert context.code_location_names == ["org_early"]
            add_org(workspace_file, "late")
            daemon.check_workspace_freshness(time.time())
            assert context.code_location_names == ["org_late"]
