"""The process that a run is: what it is given, where it logs, how it is ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from datanika_dagster import settings
from datanika_dagster.launcher import processes, work_directories, worker
from datanika_dagster.launcher.task_token import pipe_with
from datanika_dagster.launcher.worker import Worker
from datanika_dagster.settings import Settings

LOGS = "run_logs"
RUN_MODULE = "datanika_dagster.launcher.run_main"


@dataclass(frozen=True)
class RunProcess:
    """A started run."""

    process: subprocess.Popen[bytes]
    home: Path

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def wait(self) -> str:
        """Waits for the end, cleans up, and returns how it ended in words."""
        exit_code = self.process.wait()
        processes.signal_group(self.process.pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)
        if exit_code < 0:
            return f"killed by {signal.Signals(-exit_code).name}"
        return f"exit code {exit_code}"


def start(
    run_id: str, execute_run_arguments: str, *, token: str, org: str, manifest_sha256: str
) -> RunProcess:
    """Starts a run's process.

    Args:
        run_id: The run.
        execute_run_arguments: What Dagster's `execute_run` takes; no secrets, everybody on the
            machine can see it.
        token: The run's task token.
        org: Whose run it is.
        manifest_sha256: The manifest that it was planned from.
    """
    config = settings.read()
    _sweep_once(config.work_dir())
    home = work_directories.create(config.work_dir(), "run")
    token_fd = pipe_with(token)
    try:
        with log_file(config, run_id).open("ab") as output:
            process = processes.start(
                ["-m", RUN_MODULE, "api", "execute_run", execute_run_arguments],
                environment=_environment(config, home)
                | {
                    "DATANIKA_ORG": org,
                    "DATANIKA_MANIFEST": manifest_sha256,
                    "DATANIKA_TASK_TOKEN_FD": str(token_fd),
                },
                pass_fds=[token_fd],
                output=output,
            )
    finally:
        os.close(token_fd)
    work_directories.own(home, process.pid)
    return RunProcess(process, home)


@cache
def _sweep_once(work_dir: Path) -> None:
    # With a launcher's first run: every process that looks at the instance makes a launcher.
    work_directories.sweep(work_dir)


def log_file(config: Settings, run_id: str) -> Path:
    """Returns the file that a run's process writes its own output to."""
    directory = config.required_dagster_home() / LOGS
    directory.mkdir(exist_ok=True, mode=0o700)
    return directory / f"{run_id}.log"


def terminate(of_run: Worker, *, grace_seconds: float) -> None:
    """Asks a run's process to end, and kills it if it has not after a while.

    Args:
        of_run: The process, alive on this machine a moment ago.
        grace_seconds: How long it has to stop its jobs and to report.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(of_run.pid, signal.SIGTERM)
    timer = threading.Timer(grace_seconds, _kill, [of_run])
    timer.daemon = True
    timer.start()


def _kill(of_run: Worker) -> None:
    if worker.is_alive(of_run):
        processes.signal_group(of_run.pid, signal.SIGKILL)


def _environment(config: Settings, home: Path) -> dict[str, str]:
    """Returns exactly what a run needs; nothing else of ours reaches it."""
    storage_url = config.dagster_storage_url
    return {
        **processes.scrubbed_environment(settings.inherited_environment(), home),
        "DAGSTER_HOME": str(config.required_dagster_home()),
        "DATANIKA_DAGSTER_STORAGE_URL": storage_url.get_secret_value() if storage_url else "",
        "DATANIKA_CONTROL_PLANE_URL": config.control_plane_url,
        "DATANIKA_HOME": str(config.home.absolute()),
        "DBT_PROJECTS_DIR": str(config.projects_dir()),
    }
