"""One run in a container: `python -m datanika_dagster.launcher.one_run … api execute_run ARGUMENTS`.

Dagster's Docker and Kubernetes launchers start a container for each run, with the command that this
module is given (docs/scaling.md). Inside, a run has what it has on one machine: a worker host, started
without any secret, forks the run child and its jobs. This process holds the launcher's credentials:
it launches the run there, waits, and ends as the run ends.
"""

import logging
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import LaunchRunContext
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import deserialize_value

from datanika_dagster import settings
from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher import host_choice, processes, worker
from datanika_dagster.launcher.host import client
from datanika_dagster.launcher.host_environment import HostEnvironment
from datanika_dagster.launcher.run_launcher import DatanikaRunLauncher
from datanika_dagster.launcher.worker import Worker
from datanika_dagster.tags import WORKER_TAG
from datanika_manifest.run_records import WAITS_FOR_UNLOCK

_LOGGER = logging.getLogger(__name__)
HOST_MODULE = "datanika_dagster.launcher.host"
HOST_NAME = "container"
START_SECONDS = 60.0
LAUNCH_SECONDS = 120.0
POLL_SECONDS = 0.5
RETRY_SECONDS = 2.0
# Docker waits for 10 seconds before it kills, Kubernetes for 30.
GRACE_SECONDS = 8.0
EXIT_FAILED = 1
EXIT_USAGE = 64
_NOT_STARTED = (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING)


class CommandNotUnderstood(ExecutionError):
    """The arguments are not those of a run."""

    code = "container.command"


def main() -> None:
    """Does the run that the arguments name; the exit code says how it ended."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    processes.hide_this_process()
    try:
        run_id = run_id_of(sys.argv[1:])
    except CommandNotUnderstood as error:
        _LOGGER.error("%s", error)
        sys.exit(EXIT_USAGE)
    with DagsterInstance.get() as instance, _worker_host() as sockets:
        settings.put_into_environment({"DATANIKA_WORKER_SOCKETS": str(sockets)})
        sys.exit(ContainerRun(instance, run_id).do())


def run_id_of(arguments: Sequence[str]) -> str:
    """Returns the run of Dagster's own command `… api execute_run ARGUMENTS`.

    Raises:
        CommandNotUnderstood: It is another command.
    """
    if list(arguments[-3:-1]) != ["api", "execute_run"]:
        raise CommandNotUnderstood(
            f"A container of a run is given '… api execute_run ARGUMENTS', not {len(arguments)} "
            f"arguments that begin with '{' '.join(arguments[:2])}'."
        )
    return deserialize_value(arguments[-1], ExecuteRunArgs).run_id


class _Waits(Exception):
    """The platform is sealed."""


class _ContainerLauncher(DatanikaRunLauncher):
    """The launcher, but a run that cannot start yet keeps its container.

    Back in the queue it would be launched under the same name again, and Kubernetes refuses a second
    job of a name (docs/decisions/0130-a-container-starts-its-run-once.md).
    """

    def give_back(self, run: DagsterRun) -> None:
        """Lets the container wait."""
        raise _Waits


class ContainerRun:
    """The one run of this container.

    Args:
        instance: Where it is stored.
        run_id: Which one.
    """

    def __init__(self, instance: DagsterInstance, run_id: str) -> None:
        self._instance = instance
        self._run_id = run_id
        self._is_told_to_end = threading.Event()
        self._waits = False

    def do(self) -> int:
        """Launches the run and returns the container's exit code once it has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._is_told_to_end.set())
        run = self._run()
        if run.status not in _NOT_STARTED:
            # Whatever starts containers has started a second one, or one again.
            _LOGGER.warning("run %s was started before: it is %s", run.run_id, run.status.value)
            return self._exit_code(run)
        run = self._launched()
        of_run = worker.from_tag(run.tags.get(WORKER_TAG))
        # Without a process it was refused, cancelled or given up, with the reason in its log.
        return self._exit_code(run) if of_run is None else self._follow(of_run)

    def _launched(self) -> DagsterRun:
        launcher = _ContainerLauncher()
        launcher.register_instance(self._instance)
        deadline = time.monotonic() + LAUNCH_SECONDS
        while (run := self._run()).status in _NOT_STARTED:
            try:
                launcher.launch_run(LaunchRunContext(run, workspace=None))
            except DagsterUserCodeUnreachableError as error:
                if time.monotonic() > deadline:
                    self._instance.report_run_failed(run, str(error))
            except _Waits:
                self._say_that_it_waits(run)
            else:
                break
            if self._is_told_to_end.wait(RETRY_SECONDS):
                self._instance.report_run_failed(run, "Its container was stopped before it began.")
        if run.status is DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, "The run was cancelled before it had started.")
        return self._run()

    def _say_that_it_waits(self, run: DagsterRun) -> None:
        if not self._waits:
            data = EngineEventData(metadata={"waiting_for": "unlock"})
            self._instance.report_engine_event(WAITS_FOR_UNLOCK, run, data)
        self._waits = True

    def _follow(self, of_run: Worker) -> int:
        has_been_told = False
        while True:
            config = settings.read()
            status, message = host_choice.status(config, of_run, self._run_id)
            if status != "RUNNING":
                return self._ended(status, message)
            if self._is_told_to_end.wait(POLL_SECONDS) and not has_been_told:
                has_been_told = True
                host_choice.terminate(config, of_run, self._run_id, grace_seconds=GRACE_SECONDS)
            elif has_been_told:
                time.sleep(POLL_SECONDS)

    def _ended(self, status: str, message: str) -> int:
        run = self._run()
        if status == "NOT_FOUND" and not run.is_finished:
            self._instance.report_run_failed(run, f"The run's process died: {message}")
            # Its host cannot do it any more; what it held would keep its successors waiting.
            self._instance.event_log_storage.free_concurrency_slots_for_run(self._run_id)
        return self._exit_code(self._run())

    @staticmethod
    def _exit_code(run: DagsterRun) -> int:
        # A cancelled run's process ends well, and the container's work was not done.
        return 0 if run.is_success else EXIT_FAILED

    def _run(self) -> DagsterRun:
        run = self._instance.get_run_by_id(self._run_id)
        if run is None:
            raise ExecutionError(f"There is no run '{self._run_id}'.")
        return run


def host_arguments(sockets: Path) -> list[str]:
    """Returns the command of the container's worker host.

    It is there for one run, among many such: the hosts that stay take care of what all share.
    """
    return ["-m", HOST_MODULE, "--sockets", str(sockets), "--name", HOST_NAME, "--only-own"]


@contextmanager
def _worker_host() -> Iterator[Path]:
    """Runs a worker host that is given no secret, and gives the directory of its socket."""
    with tempfile.TemporaryDirectory(prefix="dn-") as directory:
        sockets = Path(directory)
        host = processes.start(host_arguments(sockets), environment=_environment())
        try:
            _wait_for(host, sockets)
            yield sockets
        finally:
            _stop(host)


def _environment() -> dict[str, str]:
    """Returns what a worker host is given: where things are, and no secret."""
    config = settings.read()
    given = HostEnvironment(
        dagster_home=config.required_dagster_home(),
        home=config.home.absolute(),
        projects_dir=config.projects_dir(),
        worker_uid_base=config.worker_uid_base,
        run_log_days=config.run_log_days,
        run_log_gigabytes=config.run_log_gigabytes,
    )
    return settings.inherited_environment() | given.variables()


def _wait_for(host: "subprocess.Popen[bytes]", sockets: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not client.hosts_in(sockets):
        if host.poll() is not None or time.monotonic() > deadline:
            raise ExecutionError("The container's worker host did not start; its output says why.")
        time.sleep(0.1)


def _stop(host: "subprocess.Popen[bytes]") -> None:
    """Lets the host end what it has still to say, for example how a run died."""
    host.send_signal(signal.SIGTERM)
    try:
        host.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        processes.stop(host, grace_seconds=1.0)


if __name__ == "__main__":
    main()
