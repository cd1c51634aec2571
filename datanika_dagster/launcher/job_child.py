"""The process of one job: a step's work with the step's credentials, and nothing else.

A worker host has forked it, or a run has started it where there is no host. It holds no Dagster and no
control-plane credential, and speaks the Dagster Pipes wire format over the socket that it was started
with. It never imports dagster.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import dagster_pipes

from datanika_dagster.launcher import jobs, processes, task
from datanika_dagster.launcher.job import LogLevel
from datanika_dagster.launcher.messages import BEAT, BEAT_SECONDS, LOG_CHARACTERS, OUTCOME
from datanika_dagster.launcher.redaction import RedactedOutput, Redactor

EXIT_ERROR = 1
EXIT_RETRYABLE = 75
EXIT_CANCELLED = 130


class ChildJob:
    """The job's side of the channel; safe to call from several threads.

    Args:
        pipes: The open Pipes context.
        work_dir: The job's private directory.
    """

    def __init__(self, pipes: dagster_pipes.PipesContext, work_dir: Path) -> None:
        self._pipes = pipes
        self._lock = threading.Lock()
        self._work_dir = work_dir

    @property
    def work_dir(self) -> Path:
        """A fresh private directory that is removed when the job has ended."""
        return self._work_dir

    def log(self, level: LogLevel, message: str) -> None:
        """Writes one line to the run's log; a very long one is cut."""
        with self._lock:
            getattr(self._pipes.log, level)("%s", message[:LOG_CHARACTERS])

    def materialized(
        self, asset_key: list[str], metadata: Mapping[str, Any], data_version: str | None = None
    ) -> None:
        """Reports that an asset has been made, at most once per asset."""
        with self._lock:
            self._pipes.report_asset_materialization(
                metadata=dict(metadata), data_version=data_version, asset_key=_escaped(asset_key)
            )

    def checked(
        self,
        asset_key: list[str],
        check_name: str,
        *,
        passed: bool,
        severity: Literal["WARN", "ERROR"],
        metadata: Mapping[str, Any],
    ) -> None:
        """Reports the result of an asset check, at most once per check."""
        with self._lock:
            self._pipes.report_asset_check(
                check_name=check_name,
                passed=passed,
                severity=severity,
                metadata=dict(metadata),
                asset_key=_escaped(asset_key),
            )

    def custom(self, payload: Mapping[str, Any]) -> None:
        """Sends a message that the step translates."""
        with self._lock:
            self._pipes.report_custom_message(dict(payload))


def _escaped(asset_key: list[str]) -> str:
    # Slugs hold neither slashes nor backslashes, so there is nothing to escape.
    return "/".join(asset_key)


class _Wire(
    dagster_pipes.PipesParamsLoader,
    dagster_pipes.PipesContextLoader,
    dagster_pipes.PipesMessageWriter[Any],
    dagster_pipes.PipesMessageWriterChannel,
):
    """Everything Pipes wants to know about the outside world: one socket, redacted."""

    def __init__(self, channel: socket.socket, context: Any, redactor: Redactor) -> None:
        self._channel = channel
        self._context = context
        self._redactor = redactor
        self._lock = threading.Lock()

    def is_dagster_pipes_process(self) -> bool:
        return True

    def load_context_params(self) -> dict[str, Any]:
        return {}

    def load_messages_params(self) -> dict[str, Any]:
        return {}

    @contextlib.contextmanager
    def load_context(self, params: Any) -> Iterator[Any]:
        yield self._context

    @contextlib.contextmanager
    def open(self, params: Any) -> Iterator[dagster_pipes.PipesMessageWriterChannel]:
        yield self

    def write_message(self, message: Any) -> None:
        line = json.dumps(self._redactor.message(message))
        with self._lock:  # the beats come from a thread of their own
            self._channel.sendall(line.encode() + b"\n")


def run_hosted(channel_fd: int) -> int:
    """Does a job in a child that a worker host has forked, in its directory, and returns its exit code.

    Args:
        channel_fd: The job's end of the channel.
    """
    return _serve(socket.socket(fileno=channel_fd))


def main() -> None:
    """Does a job in a process of its own: `job_child CHANNEL DIRECTORY`."""
    processes.harden_this_process()
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)
    os.chdir(sys.argv[2])
    # Not sys.exit: threads of an engine must not keep a job alive that is done.
    os._exit(_serve(channel))


def _serve(channel: socket.socket) -> int:
    """Reads the order from the socket, does it, and returns an exit code that says how it ended."""
    with channel.makefile("rb") as lines:
        order = json.loads(lines.readline())
    _die_with_the_run(channel)
    if order["form"] == "task":
        return task.answer(channel, order)
    if order["form"] != "step":
        raise ValueError("unknown form of a job")
    redactor = Redactor(order["secrets"])
    output = RedactedOutput(redactor, 2)
    exit_code = _do(order, _Wire(channel, order["pipes_context"], redactor))
    output.close()
    return exit_code


def _do(order: dict[str, Any], wire: _Wire) -> int:
    with dagster_pipes.open_dagster_pipes(
        params_loader=wire, context_loader=wire, message_writer=wire
    ) as pipes:
        job = ChildJob(pipes, Path.cwd())
        try:
            with _beating(wire):
                outcome = jobs.invoke(order["entry"], job, order["payload"], order["secrets"])
        except KeyboardInterrupt:
            return EXIT_CANCELLED
        job.custom({OUTCOME: outcome.as_message()})
    if outcome.error is None:
        return 0
    return EXIT_RETRYABLE if outcome.is_retryable else EXIT_ERROR


@contextlib.contextmanager
def _beating(wire: _Wire) -> Iterator[None]:
    """Says every few seconds that this process lives: a long COPY is silent, a stopped one, too."""
    is_over = threading.Event()

    def go_on() -> None:
        with contextlib.suppress(OSError):
            while not is_over.wait(BEAT_SECONDS):
                wire.write_message({"method": BEAT, "params": {}})

    thread = threading.Thread(target=go_on, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Nothing may come after the last message.
        is_over.set()
        thread.join()


def _die_with_the_run(channel: socket.socket) -> None:
    """Ends this process group when the run has gone, on systems that do not do that by themselves."""

    def wait_for_end() -> None:
        with contextlib.suppress(OSError):
            channel.recv(1)
        processes.signal_group(os.getpgid(0), signal.SIGKILL)
        # The first process of a namespace cannot be killed from inside it.
        os._exit(EXIT_ERROR)

    threading.Thread(target=wait_for_end, name="run", daemon=True).start()


if __name__ == "__main__":
    main()
