"""The control plane's way to the warm worker hosts of this machine: one child for one task.

It speaks the hosts' protocol: one JSON line per request and answer over a Unix socket, and one end
of a socket pair that goes with the request. Over its own end it tells the child what to do, so the
host never sees that. It knows nothing of tokens, orgs or kinds of tasks.
"""

import array
import contextlib
import json
import secrets
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from control_plane.core.errors import Unavailable

SOCKETS = "*.sock"
WAIT_SECONDS = 3.0
"""A host that is being replaced is away for less, if there is no other one."""

PAUSE_SECONDS = 0.1
HOST_ANSWER_SECONDS = 2.0
ENDING_SECONDS = 3.0
RETRY_AFTER_SECONDS = 3
MAXIMUM_ANSWER_BYTES = 64 << 20
MAXIMUM_HOST_LINE_BYTES = 1 << 20
RECEIVE_BYTES = 1 << 18
_OBJECT = TypeAdapter(dict[str, Any])


class Passing(Exception):
    """This host starts nothing now; another one, or the same one later, may."""


class HostGone(Exception):
    """The host has ended, and its children with it, before there was an answer."""


class AnswerTooLong(Exception):
    """The child says more than anybody would read."""


class ChildEnded(Exception):
    """The child has ended without an answer.

    Attributes:
        reason: `deadline`, `memory` or `cancelled`, where the host knows one.
    """

    def __init__(self, reason: str | None) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Wanted:
    """What a child is for, as the host needs to know it.

    Attributes:
        kind: Which work; for whoever looks at the host.
        org_id: For whom: decides the child's user.
        deadline_seconds: After this long the host ends it.
    """

    kind: str
    org_id: int
    deadline_seconds: float


class Child:
    """A child of a host. It ends with this object at the latest.

    Args:
        host: The connection that it was started over, and belongs to.
        channel: Our end of the socket pair.
        unread: What the host has said already behind its answer.
    """

    def __init__(self, host: socket.socket, channel: socket.socket, unread: bytes = b"") -> None:
        self._host = host
        self._channel = channel
        self._from_host = unread
        self._answer = bytearray()
        self._is_silent = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The host kills what a connection has started when the connection ends; a host that is
        # stuck does not, but the child sees the end of its channel.
        self._host.close()
        self._channel.close()

    def tell(self, order: Mapping[str, Any], timeout_seconds: float) -> None:
        """Sends the child its order, secrets included.

        A child that has ended meanwhile is no error here: why it did, `answer` says.
        """
        self._channel.settimeout(timeout_seconds)
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(order).encode() + b"\n")

    def answer(self, deadline: float) -> bytes:
        """Returns the child's first line; whatever may follow is never read.

        Args:
            deadline: On the monotonic clock.

        Raises:
            ChildEnded: It has ended without one.
            HostGone: The host has ended before the child had answered.
            AnswerTooLong: The line is longer than anybody would read.
            TimeoutError: Nobody says anything, not even the host.
        """
        while True:
            ready = self._wait(deadline)
            if not ready:
                raise TimeoutError
            if self._channel in ready:
                line = self._read_channel()
                if line is not None:
                    return line
                if self._is_silent:
                    # It has ended, or has closed its end: the host says which, and soon.
                    deadline = min(deadline, time.monotonic() + ENDING_SECONDS)
            elif self._host in ready:
                ending = self._read_host()
                if ending is not None:
                    return self._last_words(ending)

    def _wait(self, deadline: float) -> list[socket.socket]:
        if b"\n" in self._from_host:
            return [self._host]  # the ending came together with the answer to the start
        sources = [self._host] if self._is_silent else [self._host, self._channel]
        return select.select(sources, [], [], max(0.0, deadline - time.monotonic()))[0]

    def _last_words(self, ending: Mapping[str, Any]) -> bytes:
        while not self._is_silent and select.select([self._channel], [], [], 0)[0]:
            line = self._read_channel()
            if line is not None:
                return line
        raise ChildEnded(str(ending["reason"]) if ending.get("reason") else None)

    def _read_channel(self) -> bytes | None:
        try:
            data = self._channel.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        self._is_silent = not data
        line, newline, _ = data.partition(b"\n")
        self._answer += line
        if len(self._answer) > MAXIMUM_ANSWER_BYTES:
            raise AnswerTooLong
        return bytes(self._answer) if newline else None

    def _read_host(self) -> dict[str, Any] | None:
        try:
            message, self._from_host = _read_line(self._host, self._from_host)
        except (OSError, Passing):
            raise HostGone from None
        return message if "exit" in message else None


class WorkerHosts:
    """The hosts of this machine.

    Args:
        directory: Where their sockets are; None: nobody has said where.
        wait_seconds: How long one is waited for.
    """

    def __init__(self, directory: Path | None, wait_seconds: float = WAIT_SECONDS) -> None:
        self._directory = directory
        self._wait_seconds = wait_seconds

    def start(self, wanted: Wanted) -> Child:
        """Has some host start a child.

        Raises:
            Unavailable: No host does; the detail says why.
        """
        give_up_at = time.monotonic() + self._wait_seconds
        while True:
            reasons: list[str] = []
            for path in self._paths():
                try:
                    return _start(path, wanted)
                except (OSError, Passing) as error:
                    reasons.append(f"'{path.stem}': {_in_words(error)}")
            if time.monotonic() >= give_up_at:
                raise self._unavailable(reasons)
            time.sleep(PAUSE_SECONDS)

    def _paths(self) -> list[Path]:
        """Returns the sockets in a random order: together the requests spread over the hosts."""
        if self._directory is None:
            return []
        found = sorted(self._directory.glob(SOCKETS))
        return sorted(found, key=lambda _: secrets.randbits(32))

    def _unavailable(self, reasons: list[str]) -> Unavailable:
        if self._directory is None:
            why = "DATANIKA_WORKER_SOCKETS is not set"
        else:
            why = "; ".join(reasons) or "none runs"
        return Unavailable(
            f"No worker host takes this task now ({why}). Try again in a moment.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )


def _start(path: Path, wanted: Wanted) -> Child:
    """Has one host start a child.

    Raises:
        OSError: It does not listen, or does not answer in time.
        Passing: It starts nothing now.
    """
    request = {
        "op": "job",
        "kind": wanted.kind,
        "org_id": wanted.org_id,
        "deadline_seconds": wanted.deadline_seconds,
    }
    with contextlib.ExitStack() as on_failure:
        host = on_failure.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        host.settimeout(HOST_ANSWER_SECONDS)
        host.connect(str(path))
        ours, theirs = socket.socketpair()
        on_failure.enter_context(ours)
        with theirs:
            line = json.dumps(request).encode() + b"\n"
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
            host.sendall(line[host.sendmsg([line], [rights]) :])
            answer, unread = _read_line(host, b"")
        if answer.get("ok") is not True:
            raise Passing(str(answer.get("code")))
        on_failure.pop_all()
        return Child(host, ours, unread)


def _read_line(host: socket.socket, unread: bytes) -> tuple[dict[str, Any], bytes]:
    """Returns a host's next message, and what has arrived behind it."""
    while b"\n" not in unread:
        data = host.recv(RECEIVE_BYTES)
        if not data or len(unread) > MAXIMUM_HOST_LINE_BYTES:
            raise Passing("it has closed the connection")
        unread += data
    line, _, rest = unread.partition(b"\n")
    try:
        return _OBJECT.validate_json(line), rest
    except ValidationError:
        raise Passing("what answers there is no worker host") from None


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, Passing) else type(error).__name__
