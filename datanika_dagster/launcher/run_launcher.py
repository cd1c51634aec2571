"""Dagster's run launcher of this installation: a worker host forks a child for each run.

It runs in the daemon. The control plane is asked first, whether the run may start; its task token
goes to the run in sealed memory. The run is planned from a manifest and starts with that very one.
"""

import contextlib
import logging
import os
import uuid
from collections.abc import Mapping
from typing import Any, Self

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._config.config_schema import UserConfigSchema
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value
from dagster_postgres.utils import DagsterPostgresException
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from datanika_dagster import control_plane_client, run_logins, settings
from datanika_dagster.control_plane_client import TaskToken
from datanika_dagster.errors import ControlPlaneUnreachable, ExecutionError, PlatformSealed
from datanika_dagster.launcher import host_choice, planned_run, stranded_runs, told_ends, worker
from datanika_dagster.launcher.host.client import HostUnreachable, KnownHost
from datanika_dagster.launcher.host.order import RunOrder
from datanika_dagster.launcher.host.protocol import Launch
from datanika_dagster.launcher.host_choice import Whereabouts
from datanika_dagster.launcher.planned_run import PlannedRun
from datanika_dagster.settings import Settings
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import MANIFEST_TAG, NOT_STARTED_YET

_LOGGER = logging.getLogger(__name__)
GRACE_SECONDS = 15.0
_BEGUN = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)


class DatanikaRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Launches runs on the worker hosts of this machine."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What `dagster.yaml` says about this class."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Returns the settings in `dagster.yaml`: none, they are the environment's."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Makes the launcher that `dagster.yaml` describes."""
        return cls(inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Starts the run's process, or fails the run with the reason why it may not start.

        Raises:
            DagsterUserCodeUnreachableError: The control plane or every worker host is silent; the
                queue tries the run again.
        """
        run = context.dagster_run
        config = settings.read()
        try:
            hosts = host_choice.available(config)
            planned = planned_run.of(self._instance, run)
            with control_plane_client.of_process(config) as client:
                granted = client.authorize_run(run.run_id, planned.intent)
            self._start(run, planned, granted, hosts)
        except PlatformSealed:
            self.give_back(run)
        except (ControlPlaneUnreachable, HostUnreachable) as error:
            # Dagster's own words for it speak of a code server.
            with contextlib.suppress(SQLAlchemyError, DagsterPostgresException):
                self._instance.report_engine_event(f"{NOT_STARTED_YET}{error}", run)
            raise DagsterUserCodeUnreachableError(str(error)) from None
        except ExecutionError as error:
            # It would be refused again.
            self._instance.add_run_tags(run.run_id, {MAX_RETRIES_TAG: "0"})
            self._instance.report_run_failed(run, f"The run was refused: {error}")

    def give_back(self, run: DagsterRun) -> None:
        """Puts a run back that cannot start: the platform was sealed after the queue had looked.

        Args:
            run: It has no process; this is no attempt of its own.
        """
        stranded_runs.enqueue_again(self._instance, run.run_id)

    def _start(
        self, run: DagsterRun, planned: PlannedRun, granted: TaskToken, hosts: list[KnownHost]
    ) -> None:
        intent = planned.intent
        request = Launch(run_id=run.run_id, org=intent.org, org_id=granted.org_id)
        order_fd = self._order(run, planned, granted).sealed()
        try:
            started = host_choice.launch(hosts, request, order_fd)
        finally:
            os.close(order_fd)
        if started is not None:
            tags = {MANIFEST_TAG: intent.manifest_sha256, WORKER_TAG: started.as_tag()}
            try:
                self._instance.add_run_tags(run.run_id, tags)
            except (SQLAlchemyError, DagsterPostgresException) as error:
                # Not an error of the launch: the run lives, and its host knows it.
                _LOGGER.warning("run %s has no tag: %s", run.run_id, type(error).__name__)

    def _order(self, run: DagsterRun, planned: PlannedRun, granted: TaskToken) -> RunOrder:
        config = settings.read()
        return RunOrder(
            run_id=run.run_id,
            claimant=str(uuid.uuid4()),
            org=planned.intent.org,
            manifest_sha256=planned.intent.manifest_sha256,
            task_token=SecretStr(granted.token),
            instance_ref=serialize_value(self._instance.get_ref()),
            storage_url=SecretStr(_storage_url(config, granted.org_id)),
            environment=_environment(config),
        )

    def terminate(self, run_id: str) -> bool:
        """Asks a run to end; after a grace period its process is killed.

        Returns:
            False where the run has ended already.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        of_run = worker.from_tag(run.tags.get(WORKER_TAG))
        # A worker that this process does not reach sees by itself that its run is being cancelled.
        host_choice.terminate(settings.read(), of_run, run_id, grace_seconds=GRACE_SECONDS)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Tells the daemon that it may ask whether a run's process lives."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tells whether a run's process lives."""
        of_run = worker.from_tag(run.tags.get(WORKER_TAG))
        if of_run is None:
            return self._of_untagged(run)
        said, message = host_choice.status(settings.read(), of_run, run.run_id)
        status = WorkerStatus(said)
        if status is WorkerStatus.SUCCESS:
            status = self._of_ended(run.run_id)
        is_gone = status in (WorkerStatus.NOT_FOUND, WorkerStatus.FAILED)
        if is_gone and told_ends.settle(self._instance, run.run_id):
            status = WorkerStatus.SUCCESS
        return CheckRunHealthResult(status, message or None, run_worker_id=str(of_run.pid))

    def _of_ended(self, run_id: str) -> WorkerStatus:
        """Returns the status of a run of which a process has ended well.

        That process may have found that another one executes the run, which its tag does not name.
        """
        if not self._is_begun(run_id):
            return WorkerStatus.SUCCESS
        if host_choice.find_run(settings.read(), run_id) is not Whereabouts.NOWHERE:
            return WorkerStatus.RUNNING
        # That one may have ended well between the two questions.
        return WorkerStatus.FAILED if self._is_begun(run_id) else WorkerStatus.SUCCESS

    def _is_begun(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        return run is not None and run.status in _BEGUN

    @staticmethod
    def _of_untagged(run: DagsterRun) -> CheckRunHealthResult:
        if run.remote_job_origin is None:
            # From a shell: its process is the shell's, and nobody knows which.
            return CheckRunHealthResult(WorkerStatus.RUNNING, "Started from a shell")
        match host_choice.find_run(settings.read(), run.run_id):
            case Whereabouts.HERE:
                # Whoever launched it was killed before it could write down where.
                return CheckRunHealthResult(WorkerStatus.RUNNING, "A worker host has its process")
            case Whereabouts.UNKNOWN:
                # Not UNKNOWN: Dagster's monitoring takes that for dead.
                return CheckRunHealthResult(WorkerStatus.RUNNING, "A worker host does not answer")
            case Whereabouts.NOWHERE:
                return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The run never got a process")


def _storage_url(config: Settings, org_id: int) -> str:
    """Returns Dagster's storage with the login of the org's runs, which sees the org's rows only.

    Without a key there are no such logins: then it is the storage as this process opens it.
    """
    if config.dagster_storage_url is None:
        return ""
    url = config.dagster_storage_url.get_secret_value()
    if config.dagster_login_key is None:
        return url
    return run_logins.url_of(url, org_id, config.dagster_login_key.get_secret_value())


def _environment(config: Settings) -> dict[str, str]:
    """Returns what a run needs beside its secrets; nothing else of ours reaches it."""
    return {
        "DAGSTER_HOME": str(config.required_dagster_home()),
        "DATANIKA_CONTROL_PLANE_URL": config.control_plane_url,
        "DATANIKA_HOME": str(config.home.absolute()),
        "DATANIKA_STEP_LOG_BYTES": str(config.step_log_bytes),
        "DATANIKA_STEP_LOG_LINES": str(config.step_log_lines),
        "DBT_PROJECTS_DIR": str(config.projects_dir()),
    }
