"""One look of Dagster's scheduler in a process of its own, which is killed at a named moment."""

import logging
import os
import signal
from datetime import datetime

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._scheduler.scheduler import launch_scheduled_runs


def look_and_die(
    environment: dict[str, str], socket: str, now: datetime, schedule: str, moment: str
) -> None:
    os.environ.update(environment)
    target = GrpcServerTarget(host="localhost", port=None, socket=socket, location_name="org_acme")
    logger = logging.getLogger("datanika_dagster.tests.killed")
    with DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as context:
        crash = {schedule: {moment: signal.SIGKILL}}
        list(launch_scheduled_runs(context, logger, now, {}, debug_crash_flags=crash))
