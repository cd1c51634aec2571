"""The process of one interactive task: a connection test, a discovery, a parse or a preview.

One JSON object comes in on stdin and one goes out on stdout. The caller has started this with
next to no environment; credentials are redeemed here, so the caller never sees them.
"""

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr

from datanika_dagster import settings
from datanika_dagster.control_plane_client import ControlPlaneClient, Redeemed
from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher import jobs, processes, work_directories
from datanika_dagster.launcher.job import LogLevel
from datanika_dagster.launcher.redaction import RedactedOutput, Redactor
from datanika_dagster.launcher.texts import storable


class Request(BaseModel):
    """What the caller wants."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: str
    payload: dict[str, Any]
    token: SecretStr | None = None
    control_plane_url: str
    deadline_seconds: float
    home: Path | None = None


class TaskJob:
    """A task's side of the channel: it can log, and has no assets to report.

    Args:
        work_dir: The task's private directory.
        redactor: Takes the task's secrets out of what it logs.
    """

    def __init__(self, work_dir: Path, redactor: Redactor) -> None:
        self._work_dir = work_dir
        self._redactor = redactor

    @property
    def work_dir(self) -> Path:
        """A fresh private directory that is removed when the task has ended."""
        return self._work_dir

    def log(self, level: LogLevel, message: str) -> None:
        """Writes one line to stderr."""
        sys.stderr.write(f"{level}: {self._redactor.text(message)}\n")

    def materialized(
        self, asset_key: list[str], metadata: Mapping[str, Any], data_version: str | None = None
    ) -> None:
        """Refuses: tasks have no assets.

        Raises:
            ExecutionError: Always.
        """
        raise ExecutionError("A task cannot report assets.")


@dataclass
class _Answer:
    """The one answer, whoever is first: the task or its watchdog."""

    fd: int
    work_dir: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_given: bool = False

    def give(self, answer: Mapping[str, Any]) -> None:
        with self.lock:
            if self.is_given:
                return
            self.is_given = True
            shutil.rmtree(self.work_dir, ignore_errors=True)
            remaining = memoryview(json.dumps(storable(answer)).encode() + b"\n")
            while remaining:
                remaining = remaining[os.write(self.fd, remaining) :]

    def give_up(self, deadline_seconds: float) -> None:
        message = f"It took longer than {deadline_seconds:.0f} seconds."
        self.give(_error("task.timeout", message))
        processes.signal_group(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Does the task that stdin describes and writes the answer to stdout."""
    processes.harden_this_process()
    # What libraries print must not get into the answer.
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    request = Request.model_validate_json(sys.stdin.buffer.read())
    work_dir = _work_dir(request)
    answer = _Answer(answer_fd, work_dir)
    watchdog = threading.Timer(request.deadline_seconds, answer.give_up, [request.deadline_seconds])
    watchdog.daemon = True
    watchdog.start()
    settings.put_into_environment(
        processes.scrubbed_environment(settings.inherited_environment(), work_dir)
    )
    os.chdir(work_dir)
    answer.give(_do(request, work_dir))
    # Not sys.exit: threads of an engine must not keep a task alive that is done.
    os._exit(0)


def _work_dir(request: Request) -> Path:
    parent = request.home.absolute() / "work" if request.home else Path(gettempdir())
    directory = work_directories.create(parent, "task")
    work_directories.own(directory, os.getpid())
    return directory


def _do(request: Request, work_dir: Path) -> dict[str, Any]:
    try:
        redeemed = _redeem(request)
    except ExecutionError as error:
        return _error(error.code, str(error))
    secrets = redeemed.connections if redeemed else {}
    redactor = Redactor(secrets)
    output = RedactedOutput(redactor, 2)
    payload = dict(request.payload)
    if redeemed:
        payload |= redeemed.networks()
    outcome = jobs.invoke(request.kind, TaskJob(work_dir, redactor), payload, secrets)
    output.close()
    # A value is the user's own data: only what we say ourselves is redacted.
    return redactor.outcome(outcome.as_message())


def _redeem(request: Request) -> Redeemed | None:
    if request.token is None:
        return None
    token = request.token.get_secret_value()
    with ControlPlaneClient(request.control_plane_url, {}) as client:
        return client.redeem(token)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": message, "field": None}}


if __name__ == "__main__":
    main()
