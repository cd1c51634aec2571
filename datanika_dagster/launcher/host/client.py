"""A worker host's clients: the launcher, a run's own steps, a shell, whoever watches.

Knows the protocol, not what is run. Imports neither Dagster nor an engine.
"""

import array
import contextlib
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, TypeAdapter, ValidationError

from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher.host.protocol import (
    ANSWER_BYTES,
    Code,
    Info,
    Kill,
    Lines,
    Refusal,
    StartJob,
    as_line,
)

TIMEOUT_SECONDS = 5.0
SOCKETS = "*.sock"
_ANSWER = TypeAdapter(dict[str, Any])


class HostUnreachable(ExecutionError):
    """No worker host answers; later one may."""

    code = "worker_host.unreachable"


class HostGone(HostUnreachable):
    """Nobody listens there: that host has ended, and its children with it."""

    code = "worker_host.gone"


class HostRefused(ExecutionError):
    """A worker host answered no.

    Attributes:
        why: Which kind of no.
    """

    code = "worker_host.refused"

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why

    @property
    def is_passing(self) -> bool:
        """Whether another host, or this one later, may say yes."""
        return self.why in (Code.DRAINING, Code.FULL)


class HostConnection:
    """A connection to a host. Jobs that it has started end with it.

    Args:
        connected: The socket.
        timeout_seconds: How long an answer may take.
    """

    def __init__(self, connected: socket.socket, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        connected.settimeout(timeout_seconds)
        self._socket = connected
        self._timeout_seconds = timeout_seconds
        self._lines = Lines(ANSWER_BYTES)
        self._answers: list[dict[str, Any]] = []
        self._owed = 0
        self._endings: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it; what it has started is killed."""
        self._socket.close()

    def fileno(self) -> int:
        """Returns the descriptor, readable when an ending may have come."""
        return self._socket.fileno()

    def request(
        self,
        message: BaseModel,
        descriptors: Sequence[int] = (),
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Asks, and returns the answer.

        Args:
            message: A request.
            descriptors: What goes with it; stays the caller's.
            timeout_seconds: How long this answer may take, where it is not as long as ever.

        Raises:
            HostUnreachable: No answer in time; what was asked may be done or not.
            HostRefused: The answer is no.
        """
        try:
            self._send(as_line(message), descriptors)
        except OSError as error:
            self.close()  # half a question
            raise _unanswered(error) from None
        try:
            answer = self._next_answer(timeout_seconds or self._timeout_seconds)
        except OSError as error:
            # What it has started must not die because a host is slow: it stays open then.
            if not isinstance(error, TimeoutError):
                self.close()
            raise _unanswered(error) from None
        if answer.get("ok") is not True:
            raise HostRefused(str(answer.get("code")), str(answer.get("error")))
        return answer

    def _next_answer(self, timeout_seconds: float) -> dict[str, Any]:
        self._owed += 1
        deadline = time.monotonic() + timeout_seconds
        while len(self._answers) < self._owed:
            if not select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            self._receive()
        # Those before it are late answers to questions that were given up.
        answer = self._answers[self._owed - 1]
        del self._answers[: self._owed]
        self._owed = 0
        return answer

    def ending_of(self, job: str) -> dict[str, Any] | None:
        """Returns how a job has ended, None while it lives; does not wait.

        Raises:
            HostUnreachable: The host has gone, and its jobs with it.
        """
        try:
            while job not in self._endings and select.select([self._socket], [], [], 0)[0]:
                self._receive()
        except (OSError, ValueError) as error:
            raise HostUnreachable(f"The worker host has gone ({type(error).__name__}).") from None
        return self._endings.get(job)

    def _send(self, line: bytes, descriptors: Sequence[int]) -> None:
        if not descriptors:
            self._socket.sendall(line)
            return
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        sent = self._socket.sendmsg([line], [rights])
        self._socket.sendall(line[sent:])

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        try:
            messages = [_ANSWER.validate_json(line) for line in self._lines.feed(data)]
        except (Refusal, ValidationError):
            raise ConnectionError("not a worker host") from None
        for message in messages:
            if "exit" in message:
                self._endings[str(message["job"])] = message
            else:
                self._answers.append(message)


def _unanswered(error: OSError) -> HostUnreachable:
    return HostUnreachable(f"The worker host did not answer ({type(error).__name__}).")


@dataclass(frozen=True)
class KnownHost:
    """A host that answers.

    Attributes:
        path: Its socket.
        info: What it says of itself.
    """

    path: Path
    info: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The host's name."""
        return self.path.stem

    @property
    def is_draining(self) -> bool:
        """Whether it starts nothing new."""
        return bool(self.info["is_draining"])

    @property
    def children(self) -> Sequence[Mapping[str, Any]]:
        """What runs there."""
        return self.info["children"]

    def has_run(self, run_id: str) -> bool:
        """Tells whether a run's own process is there."""
        return any(one["role"] == "run" and one.get("run_id") == run_id for one in self.children)


def connect(path: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> HostConnection:
    """Connects to a host.

    Raises:
        HostGone: Nobody listens there.
        HostUnreachable: It does not take the connection in time.
    """
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(timeout_seconds)
    try:
        connected.connect(str(path))
    except OSError as error:
        connected.close()
        # Anything else, such as a full backlog, may be a host that is busy.
        is_gone = isinstance(error, FileNotFoundError | ConnectionRefusedError)
        raise (HostGone if is_gone else HostUnreachable)(
            f"The worker host '{path.stem}' does not listen ({type(error).__name__})."
        ) from None
    return HostConnection(connected, timeout_seconds)


@dataclass(frozen=True)
class KnownHosts:
    """What is known of the hosts of a directory.

    Attributes:
        answering: The least loaded first and the draining ones last.
        silent: The names of those that listen and do not answer: nobody knows what runs there.
    """

    answering: Sequence[KnownHost]
    silent: Sequence[str]


def survey(directory: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> KnownHosts:
    """Asks all hosts of a directory what runs on them.

    Args:
        directory: Where their sockets are.
        timeout_seconds: How long each may take.
    """
    found: list[KnownHost] = []
    silent: list[str] = []
    for path in sorted(directory.glob(SOCKETS)):
        try:
            with connect(path, timeout_seconds) as connection:
                found.append(KnownHost(path, connection.request(Info())))
        except HostGone:
            continue
        except (HostUnreachable, HostRefused):
            silent.append(path.stem)
    answering = sorted(found, key=lambda host: (host.is_draining, len(host.children)))
    return KnownHosts(answering, silent)


def hosts_in(directory: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> list[KnownHost]:
    """Returns the hosts that answer, the least loaded first and the draining ones last.

    Args:
        directory: Where their sockets are.
        timeout_seconds: How long each may take.
    """
    return list(survey(directory, timeout_seconds).answering)


def start_job(connection: HostConnection, request: StartJob, descriptors: Sequence[int]) -> str:
    """Starts a job and returns its name.

    Raises:
        HostUnreachable: No answer.
        HostRefused: It may not start.
    """
    return str(connection.request(request, descriptors)["job"])


def kill_job(connection: HostConnection, job: str, *, is_hard: bool) -> None:
    """Interrupts or kills a job; does nothing where it has ended or the host has gone.

    Args:
        connection: The one that it was started over.
        job: Its name.
        is_hard: Kill it at once.
    """
    with contextlib.suppress(HostUnreachable, HostRefused):
        request = Kill(job=job, signal="KILL" if is_hard else "INT")
        connection.request(request, timeout_seconds=TIMEOUT_SECONDS)
