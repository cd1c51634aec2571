"""One client of the host, or one run child: a socket that is never waited for.

Knows lines and descriptors, not what they mean.
"""

import array
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

from datanika_dagster.launcher.host.protocol import ANSWER_BYTES, REQUEST_BYTES, Lines, as_line

RECEIVE_BYTES = 1 << 16
DESCRIPTORS = 8
"""So many may wait for the request that they belong to."""

_LINUX_UCRED = struct.Struct("3i")  # `struct ucred`: pid, uid, gid (socket(7))
# macOS, sys/un.h and sys/ucred.h: `struct xucred` has version, uid, number of groups, 16 groups.
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1
_XUCRED = struct.Struct("IIh2x16I")
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Closed(Exception):
    """The other side has gone, or is not worth listening to."""


class Connection:
    """A connected socket.

    Args:
        connected: Becomes non-blocking.
        run_id: Whose own connection it is; None for a client from outside.
    """

    def __init__(self, connected: socket.socket, run_id: str | None = None) -> None:
        connected.setblocking(False)
        self.run_id = run_id
        self.jobs: set[str] = set()
        self._socket = connected
        self._lines = Lines(REQUEST_BYTES)
        self._descriptors: list[int] = []
        self._unsent = b""

    def fileno(self) -> int:
        """Returns the socket's descriptor."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether it waits until it can be written to."""
        return bool(self._unsent)

    def receive(self) -> list[bytes]:
        """Returns the lines that have arrived.

        Raises:
            Closed: Nothing will come any more.
            Refusal: A line is too long.
        """
        size = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self._socket.recvmsg(RECEIVE_BYTES, size, _CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            raise Closed from None
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
                self._descriptors += received
        if not data or len(self._descriptors) > DESCRIPTORS:
            raise Closed
        return self._lines.feed(data)

    def take_descriptors(self, count: int) -> list[int]:
        """Returns the next descriptors, the caller's to close; fewer where fewer have come."""
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return taken

    def has_gone(self) -> bool:
        """Tells whether the other side has closed already, without waiting for an answer."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message, or as much of it as goes now.

        Raises:
            Closed: The other side has gone, or never reads.
        """
        self._unsent += as_line(message)
        self.flush()
        if len(self._unsent) > ANSWER_BYTES:
            raise Closed

    def flush(self) -> None:
        """Sends more of what waits.

        Raises:
            Closed: The other side has gone.
        """
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            raise Closed from None

    def close(self) -> None:
        """Closes the socket and the descriptors that nobody has taken."""
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors = []
        self._socket.close()

    def abandon(self) -> None:
        """Forgets all of it in a child, where the descriptors are closed already or others' now."""
        self._descriptors = []
        self._unsent = b""
        self._lines = Lines(REQUEST_BYTES)
        self._socket.detach()


def uid_of(connected: socket.socket) -> int:
    """Returns who has connected, as the kernel says.

    Raises:
        OSError: The kernel does not say.
    """
    if sys.platform == "linux":
        packed = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX_UCRED.size)
        return _LINUX_UCRED.unpack(packed)[1]
    packed = connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
    return _XUCRED.unpack(packed)[1]
