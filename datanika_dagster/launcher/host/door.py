"""Where a host listens. Knows who may come in, and nothing of what they ask."""

import contextlib
import errno
import math
import os
import selectors
import socket
import time
from pathlib import Path

from datanika_dagster.launcher.host.connection import uid_of

BACKLOG = 128
PAUSE_SECONDS = 0.5
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door:
    """The listening socket, which one selector watches.

    Args:
        path: Of the socket.
        selector: Watches it while it is open.
    """

    def __init__(self, path: Path, selector: selectors.BaseSelector) -> None:
        self._path = path
        self._selector = selector
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._opens_at = math.inf
        self._bound: tuple[int, int] | None = None

    def open(self) -> None:
        """Listens, in place of whoever listened there before.

        Raises:
            OSError: It cannot.
        """
        self._listener.setblocking(False)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(self._path))
        finally:
            os.umask(mask)
        self._bound = self._at_path()
        self._listener.listen(BACKLOG)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def is_knocked_at(self, ready: object) -> bool:
        """Tells whether what the selector has found is this socket."""
        return ready is self._listener

    def let_in(self) -> socket.socket | None:
        """Returns who has come, None where there is nobody who may."""
        try:
            connected, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                # The socket stays readable: those who wait must not keep the loop busy.
                self._selector.unregister(self._listener)
                self._opens_at = time.monotonic() + PAUSE_SECONDS
            return None  # otherwise whoever came has gone already
        if uid_of(connected) not in (os.geteuid(), 0):
            connected.close()
            return None
        return connected

    @property
    def due_at(self) -> float:
        """When `do_what_is_due` has something to do, on the monotonic clock."""
        return self._opens_at

    def do_what_is_due(self) -> None:
        """Opens again after a pause."""
        if time.monotonic() >= self._opens_at:
            self._opens_at = math.inf
            self._selector.register(self._listener, selectors.EVENT_READ)

    def remove(self) -> None:
        """Removes the socket's file, unless another host of this name has put its own there."""
        if self._bound is not None and self._at_path() == self._bound:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _at_path(self) -> tuple[int, int] | None:
        try:
            status = self._path.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def forget(self) -> None:
        """Forgets the socket in a child, where its descriptor is closed already or another's now."""
        self._listener.detach()
