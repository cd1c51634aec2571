"""Dagster's run launcher of this installation: one scrubbed process for each run.

It runs in the daemon. The control plane is asked first, whether the run may start; its task token
goes to the run in a pipe. The run is planned from a manifest and starts with that very one.
"""

import threading
from collections.abc import Mapping
from typing import Any, Self

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._config.config_schema import UserConfigSchema
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from datanika_dagster import control_plane_client, settings
from datanika_dagster.errors import ControlPlaneUnreachable, ExecutionError, PlatformSealed
from datanika_dagster.launcher import planned_run, run_process, worker
from datanika_dagster.launcher.planned_run import PlannedRun
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import MANIFEST_TAG

GRACE_SECONDS = 15.0


class DatanikaRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Launches runs as processes of this machine."""

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
            DagsterUserCodeUnreachableError: The control plane does not answer; the queue tries
                the run again.
        """
        run = context.dagster_run
        config = settings.read()
        try:
            planned = planned_run.of(self._instance, run)
            with control_plane_client.of_process(config) as client:
                token = client.authorize_run(run.run_id, planned.intent).token
        except PlatformSealed:
            # Since the queue has looked. Back into it, as no attempt of the run's own.
            self._instance.report_dagster_event(DagsterEvent.job_enqueue(run), run.run_id)
            return
        except ControlPlaneUnreachable as error:
            raise DagsterUserCodeUnreachableError(str(error)) from None
        except ExecutionError as error:
            # It would be refused again.
            self._instance.add_run_tags(run.run_id, {MAX_RETRIES_TAG: "0"})
            self._instance.report_run_failed(run, f"The run was refused: {error}")
            return
        self._start(run, planned, token)

    def _start(self, run: DagsterRun, planned: PlannedRun, token: str) -> None:
        arguments = ExecuteRunArgs(
            job_origin=planned.origin,
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
            set_exit_code_on_failure=True,
        )
        process = run_process.start(
            run.run_id,
            serialize_value(arguments),
            token=token,
            org=planned.intent.org,
            manifest_sha256=planned.intent.manifest_sha256,
        )
        tags = {MANIFEST_TAG: planned.intent.manifest_sha256}
        started = worker.of_pid(process.pid)
        if started:
            tags[WORKER_TAG] = started.as_tag()
        self._instance.add_run_tags(run.run_id, tags)
        threading.Thread(
            target=self._wait_for_end,
            args=(self._instance, run.run_id, process),
            name=f"run-{run.run_id}",
            daemon=True,
        ).start()

    @staticmethod
    def _wait_for_end(
        instance: DagsterInstance, run_id: str, process: run_process.RunProcess
    ) -> None:
        """Reports a run whose process has died without doing so itself."""
        ending = process.wait()
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        if run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, f"The run's process has ended: {ending}.")
        else:
            instance.report_run_failed(run, f"The run's process died: {ending}.")
        # What it held would keep its successors waiting for minutes.
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)

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
        # A worker elsewhere sees by itself that its run is being cancelled.
        if of_run and worker.is_alive(of_run):
            run_process.terminate(of_run, grace_seconds=GRACE_SECONDS)
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
        name = str(of_run.pid)
        if worker.is_alive(of_run):
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=name)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, f"Process {of_run.pid} has ended", run_worker_id=name
        )

    @staticmethod
    def _of_untagged(run: DagsterRun) -> CheckRunHealthResult:
        if run.remote_job_origin is None:
            # From a shell: its process is the shell's, and nobody knows which.
            return CheckRunHealthResult(WorkerStatus.RUNNING, "Started from a shell")
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The run never got a process")
