"""Runs interactive work (connection test, discovery, parse, preview) outside this process.

`run` is the one call (architecture, decision 16). The control plane imports no engine and opens
no tenant's database: a scrubbed subprocess of the execution plane does, with a single-use task
token that it redeems itself.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, cast

from control_plane.core.errors import Upstream
from control_plane.core.slots import Slots

TASK_MODULE = "datanika_dagster.launcher.task"
GRACE_SECONDS = 3.0
MAXIMUM_ERROR_CHARACTERS = 2_000


class TaskFailed(Exception):
    """The work ran and failed for a reason that the user can act on.

    Attributes:
        code: Stable, for example `connection.auth`.
        message: What happened, without any secret.
        field: The object that is to blame, where there is one.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


@dataclass(frozen=True)
class TaskRunner:
    """Starts one scrubbed subprocess for each task.

    Attributes:
        control_plane_url: Where the task redeems its token.
        slots: How many may run at once.
        path: The `PATH` of the subprocess, its only variable beside the locale.
    """

    control_plane_url: str
    slots: Slots = field(default_factory=Slots)
    path: str = "/usr/local/bin:/usr/bin:/bin"

    def run(
        self, kind: str, payload: dict[str, Any], *, token: str | None, deadline_seconds: float
    ) -> Any:
        """Does the work and returns its value.

        Args:
            kind: Which task, a name of the execution plane's registry.
            payload: JSON; no secrets.
            token: A task token, where the work needs credentials.
            deadline_seconds: After this long the whole process group is killed.

        Raises:
            TaskFailed: The work failed for a reason of the user's.
            Upstream: The process died, answered nothing readable or passed its deadline.
        """
        request = {
            "kind": kind,
            "payload": payload,
            "token": token,
            "control_plane_url": self.control_plane_url,
            "deadline_seconds": deadline_seconds,
        }
        output = self._communicate(kind, json.dumps(request), deadline_seconds + GRACE_SECONDS)
        answer = _read_answer(kind, output)
        if answer.get("ok") is True:
            return answer.get("value")
        error = cast("dict[str, Any]", answer.get("error") or {})
        raise TaskFailed(
            str(error.get("code", "task.failed")),
            str(error.get("message", "The task failed."))[:MAXIMUM_ERROR_CHARACTERS],
            cast("str | None", error.get("field")),
        )

    def _communicate(self, kind: str, request: str, timeout_seconds: float) -> str:
        process = subprocess.Popen(  # noqa: S603 - a fixed command, no user input in argv
            [sys.executable, "-m", TASK_MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": self.path, "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(request, timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise Upstream(
                f"The task '{kind}' did not end within {timeout_seconds:.0f} seconds."
            ) from None
        finally:
            # Whatever the task started ends with it, also when this request is torn down.
            _kill_group(process)
        return output


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _read_answer(kind: str, output: str) -> dict[str, Any]:
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Upstream(f"The task '{kind}' ended without an answer.")
    return cast("dict[str, Any]", answer)
