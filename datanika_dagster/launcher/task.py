"""A job's form for interactive work: a connection test, a discovery, a parse, a preview, a sample.

One order has come over the channel, one line goes back. The worker host watches the deadline and
removes the directory; the control plane reads the first line and no other.
"""

import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher import jobs
from datanika_dagster.launcher.job import LogLevel
from datanika_dagster.launcher.redaction import RedactedOutput, Redactor
from datanika_dagster.launcher.texts import storable

EXIT_FAILED = 1


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


def answer(channel: socket.socket, order: Mapping[str, Any]) -> int:
    """Does what an order says in this process and directory, and answers.

    Args:
        channel: To whoever has ordered it.
        order: `{"entry", "payload", "secrets"}`.

    Returns:
        The exit code.

    Raises:
        KeyboardInterrupt: The host ends this task; nobody waits for an answer any more.
    """
    secrets = order["secrets"]
    redactor = Redactor(secrets)
    output = RedactedOutput(redactor, 2)
    job = TaskJob(Path.cwd(), redactor)
    outcome = jobs.invoke(order["entry"], job, dict(order["payload"]), secrets)
    output.close()
    # A value is the user's own data: only what we say ourselves is redacted.
    line = json.dumps(storable(redactor.outcome(outcome.as_message()))).encode() + b"\n"
    channel.settimeout(None)
    channel.sendall(line)
    return 0 if outcome.error is None else EXIT_FAILED
