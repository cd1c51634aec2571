"""The run's side of a job: starts it, hears it out, and decides what its ending means.

One thread: the run waits in `select`. Dagster's Pipes session turns accepted messages into
events; they are yielded as they come, so what was reported before a failure stays recorded.
"""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.pipes.context import PipesMessageHandler, PipesSession
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG
from dagster_pipes import (
    PIPES_PROTOCOL_VERSION,
    PipesContextData,
    PipesMessage,
    PipesParams,
)
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

from datanika_dagster import settings
from datanika_dagster.errors import MessageRefused
from datanika_dagster.launcher import endings, job_processes
from datanika_dagster.launcher.host.client import HostRefused, HostUnreachable
from datanika_dagster.launcher.job import Secrets
from datanika_dagster.launcher.job_processes import JobProcess, Terms
from datanika_dagster.launcher.log_allowance import LogAllowance
from datanika_dagster.launcher.messages import LINE_BYTES, OUTCOME, StepContract

GRACE_SECONDS = 2.0
POLL_SECONDS = 2.0
SEND_SECONDS = 60.0
SILENT_SECONDS = 60.0
"""A job that lives says so every few seconds."""

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
    terms: Terms,
    translate: Translate | None = None,
) -> Iterator[Any]:
    """Runs a job for a step and yields what it reports.

    Args:
        context: The step.
        entry: A kind of job, a name of `jobs.JOBS`.
        payload: What to do, JSON, without secrets.
        secrets: The connections that this job uses, and no others.
        terms: Whose job it is, and how long it may take.
        translate: Turns the job's own messages into results; None: it may send none.

    Raises:
        Failure: The job failed, died, passed its deadline, said what it may not say, or ended
            without having reported all of the step.
        DagsterExecutionInterruptedError: The run is being cancelled, or counts as ended.
    """
    # It may have waited for its pool for long.
    raise_if_cancelled(context)
    with (
        _Channel(context, translate) as channel,
        # The asset's own context would warn of Dagster's own use of it.
        dg.open_pipes_session(context.op_execution_context, channel, channel) as session,
    ):
        process = _start(entry, terms, channel)
        try:
            channel.send(
                {
                    "form": "step",
                    "entry": entry,
                    "payload": payload,
                    "secrets": secrets,
                    "pipes_context": session.context_data,
                }
            )
            for lines in _follow(context, channel, process, terms.deadline_seconds):
                yield from channel.accept(lines, session)
            ending = process.wait(process.exit_seconds)
        except MessageRefused as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        finally:
            process.stop(GRACE_SECONDS)
            channel.end()
            if dropped := channel.contract.logs.in_words():
                context.log.warning(dropped)
        if endings.is_retryable(ending):
            _wish_for_a_retry(context)
        endings.raise_unless_complete(ending, channel.outcome, channel.contract)


def _start(entry: str, terms: Terms, channel: "_Channel") -> JobProcess:
    try:
        return job_processes.start(entry, terms, channel.child_fd)
    except (HostRefused, HostUnreachable) as error:
        raise dg.Failure(f"The job could not start: {error}", allow_retries=True) from None


def _wish_for_a_retry(context: dg.AssetExecutionContext) -> None:
    """Says that a failed step is to be done again, as its job says that it may succeed: once (0111)."""
    try:
        context.instance.add_run_tags(
            context.run.run_id, {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"}
        )
    except (SQLAlchemyError, DagsterPostgresException) as error:
        # Why the job failed is what people need; it is said next.
        context.log.warning("The run could not be marked for a retry: %s", type(error).__name__)


def _allowance() -> LogAllowance:
    config = settings.read()
    return LogAllowance(config.step_log_lines, config.step_log_bytes)


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
            _allowance(),
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
            if message is None:
                continue
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
    process: JobProcess,
    deadline_seconds: float,
) -> Iterator[list[bytes]]:
    started = heard = time.monotonic()
    next_look = started + POLL_SECONDS
    while True:
        if channel.wait(POLL_SECONDS):
            heard = time.monotonic()
            lines = channel.receive()
            if lines is None:
                return
            yield lines
        elif process.ending() is not None:
            return  # something that it started still holds the socket
        now = time.monotonic()
        if now > started + deadline_seconds:
            raise dg.Failure(f"The job was stopped after {deadline_seconds:.0f} seconds.")
        if now > heard + SILENT_SECONDS:
            raise dg.Failure(f"The job gave no sign of life for {SILENT_SECONDS:.0f} seconds.")
        if now > next_look:
            next_look = now + POLL_SECONDS
            raise_if_cancelled(context)


def raise_if_cancelled(context: dg.AssetExecutionContext) -> None:
    """Ends a step whose run is being cancelled, or counts as ended.

    Raises:
        DagsterExecutionInterruptedError: It is.
    """
    # Whoever cancels may be on another machine or in another container, without our process. One
    # that was declared dead may have been started again as another run, which loads the same rows.
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is None or run.status is DagsterRunStatus.CANCELING or run.is_finished:
        raise DagsterExecutionInterruptedError
