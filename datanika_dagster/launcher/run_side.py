"""The run's side of a job: starts it, hears it out, and decides what its ending means.

One thread: the run waits in `select`. Dagster's Pipes session turns accepted messages into
events; they are yielded as they come, so what was reported before a failure stays recorded.
"""

import json
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.pipes.context import PipesMessageHandler, PipesSession
from dagster_pipes import (
    PIPES_PROTOCOL_VERSION,
    PipesContextData,
    PipesMessage,
    PipesParams,
)

from datanika_dagster import settings
from datanika_dagster.errors import MessageRefused
from datanika_dagster.launcher import endings, processes
from datanika_dagster.launcher.job import Secrets
from datanika_dagster.launcher.messages import LINE_BYTES, OUTCOME, StepContract

CHILD_MODULE = "datanika_dagster.launcher.job_child"
GRACE_SECONDS = 2.0
EXIT_SECONDS = 10.0
POLL_SECONDS = 2.0
SEND_SECONDS = 60.0
RECEIVE_BYTES = 1 << 16

CLOSED: PipesMessage = {
    "__dagster_pipes_version": PIPES_PROTOCOL_VERSION,
    "method": "closed",
    "params": {},
}

Result = dg.MaterializeResult | dg.AssetCheckResult
Translate = Callable[[Mapping[str, Any]], Iterator[Result]]


def run_job(
    context: dg.AssetExecutionContext,
    entry: str,
    payload: Mapping[str, Any],
    secrets: Secrets,
    *,
    deadline_seconds: float,
    translate: Translate | None = None,
) -> Iterator[Any]:
    """Runs a job for a step and yields what it reports.

    Args:
        context: The step.
        entry: A kind of job, a name of `jobs.JOBS`.
        payload: What to do, JSON, without secrets.
        secrets: The connections that this job uses, and no others.
        deadline_seconds: After this long the job is killed and the step fails.
        translate: Turns the job's own messages into results; None: it may send none.

    Raises:
        Failure: The job failed, died, passed its deadline, said what it may not say, or ended
            without having reported all of the step.
    """
    config = settings.read()
    with (
        processes.private_directory(config.work_dir(), "job") as work_dir,
        _Channel(context, translate) as channel,
        # The asset's own context would warn of Dagster's own use of it.
        dg.open_pipes_session(context.op_execution_context, channel, channel) as session,
    ):
        process = processes.start(
            ["-m", CHILD_MODULE, str(channel.child_fd)],
            environment=processes.scrubbed_environment(settings.inherited_environment(), work_dir),
            pass_fds=[channel.child_fd],
        )
        try:
            channel.send(
                {
                    "entry": entry,
                    "payload": payload,
                    "secrets": secrets,
                    "pipes_context": session.context_data,
                    "work_dir": str(work_dir),
                }
            )
            for lines in _follow(context, channel, process, deadline_seconds):
                yield from channel.accept(lines, session)
            exit_code = _exit_code(process)
        except MessageRefused as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        finally:
            processes.stop(process, grace_seconds=GRACE_SECONDS)
            channel.end()
        endings.raise_unless_complete(exit_code, channel.outcome, channel.contract)


class _Channel(dg.PipesContextInjector, dg.PipesMessageReader):
    """One socket pair: the order goes one way, what is reported comes the other."""

    def __init__(self, context: dg.AssetExecutionContext, translate: Translate | None) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(SEND_SECONDS)
        self._translate = translate
        self._unread = b""
        self.outcome: Mapping[str, Any] | None = None
        self.contract = StepContract(
            {key.to_escaped_user_string() for key in context.selected_asset_keys},
            {
                (key.asset_key.to_escaped_user_string(), key.name)
                for key in context.selected_asset_check_keys
            },
        )

    def __enter__(self) -> "_Channel":
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._theirs.close()

    @property
    def child_fd(self) -> int:
        return self._theirs.fileno()

    @property
    def expected_writer_count(self) -> int:
        # Dagster's own is marked as a preview and warns in each run.
        return 1

    @contextmanager
    def inject_context(self, context_data: PipesContextData) -> Iterator[PipesParams]:
        yield {}

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        self._handler = handler
        yield {}

    def no_messages_debug_text(self) -> str:
        return "The job never spoke."

    def send(self, order: Mapping[str, Any]) -> None:
        """Gives the started job its order, secrets included, and lets go of its end."""
        self._theirs.close()
        try:
            self._ours.sendall(json.dumps(order).encode() + b"\n")
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            raise dg.Failure("The job ended before it had read what to do.") from None

    def wait(self, timeout_seconds: float) -> bool:
        """Tells whether there is something to read, or an end."""
        return bool(select.select([self._ours], [], [], timeout_seconds)[0])

    def receive(self) -> list[bytes] | None:
        """Returns the whole lines that have arrived, None after the job's last byte."""
        try:
            data = self._ours.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return None
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > LINE_BYTES:
            raise MessageRefused("The job sent a message that is too long.")
        return lines

    def end(self) -> None:
        """Closes the session of a job that could not; how it ended is said elsewhere."""
        if self._handler.received_opened_message and not self._handler.received_closed_message:
            self._handler.handle_message(CLOSED)

    def accept(self, lines: list[bytes], session: PipesSession) -> Iterator[Any]:
        """Checks lines and yields the results that are in them."""
        for line in lines:
            message = self.contract.read(line)
            if message["method"] == "report_custom_message":
                yield from self._custom(message["params"].get("payload"))
                continue
            before = len(session.get_reported_results())
            if message["method"] == "closed":
                message["params"] = {}
            self._handler.handle_message(message)  # type: ignore[arg-type]
            # Not get_results(): that would record assets nobody has reported.
            yield from session.get_reported_results()[before:]

    def _custom(self, payload: Any) -> Iterator[Result]:
        if isinstance(payload, dict) and payload.keys() == {OUTCOME}:
            self.outcome = endings.read_outcome(payload[OUTCOME])
            return
        if self._translate is None or not isinstance(payload, dict):
            raise MessageRefused("The job sent a message of its own that its step does not know.")
        for result in self._translate(payload):
            self._claim(result)
            yield result

    def _claim(self, result: Result) -> None:
        key = result.asset_key.to_escaped_user_string() if result.asset_key else ""
        if isinstance(result, dg.AssetCheckResult):
            self.contract.claim_check(key, result.check_name or "")
        else:
            self.contract.claim_asset(key)


def _follow(
    context: dg.AssetExecutionContext,
    channel: _Channel,
    process: subprocess.Popen[bytes],
    deadline_seconds: float,
) -> Iterator[list[bytes]]:
    deadline = time.monotonic() + deadline_seconds
    next_look = time.monotonic() + POLL_SECONDS
    while True:
        if channel.wait(POLL_SECONDS):
            lines = channel.receive()
            if lines is None:
                return
            yield lines
        elif process.poll() is not None:
            return  # something that it started still holds the socket
        now = time.monotonic()
        if now > deadline:
            raise dg.Failure(f"The job was stopped after {deadline_seconds:.0f} seconds.")
        if now > next_look:
            next_look = now + POLL_SECONDS
            raise_if_cancelled(context)


def raise_if_cancelled(context: dg.AssetExecutionContext) -> None:
    """Ends a step whose run is being cancelled.

    Raises:
        DagsterExecutionInterruptedError: It is.
    """
    # Whoever cancels may be on another machine or in another container, without our process.
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status is DagsterRunStatus.CANCELING:
        raise DagsterExecutionInterruptedError


def _exit_code(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        return None
