"""The daemon's workspace knows of new code locations at once, also of those that come while it starts."""

import json
import time

import pytest
from dagster._daemon.daemon import MonitoringDaemon

from datanika_dagster.daemon import PromptDaemonController
from datanika_dagster.workspace.context import OrgWorkspace
from datanika_dagster.workspace.load_target import SupervisedWorkspace
from tests.datanika_dagster.support.waiting import wait_for


def list_org(home, org):
    # Nobody listens there: that is a location with an error, and known all the same.
    server = {"socket": str(home.path / org), "location_name": f"org_{org}"}
    new = home.path / "workspace.new"
    new.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
    new.replace(home.path / "workspace.yaml")


@pytest.mark.filterwarnings("ignore:Error loading repository location")
def test_a_location_is_known_as_soon_as_the_file_names_it(instance, dagster_home):
    list_org(dagster_home, "early")
    target = SupervisedWorkspace(dagster_home.path / "workspace.yaml")
    with OrgWorkspace(instance, target) as context:
        assert context.code_location_names == ["org_early"]
        with PromptDaemonController(context, [MonitoringDaemon(interval_seconds=5)]) as daemon:
            list_org(dagster_home, "late")
            wait_for(lambda: context.code_location_names == ["org_late"], 10)
            # The stock daemon would load every location again, once a minute.
            before = context.get_current_workspace()
            assert daemon.check_workspace_freshness(time.time() - 3600) < time.time() - 3000
            assert context.get_current_workspace() is before
