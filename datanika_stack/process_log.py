"""The log file of one process: bounded, and the last thing said in it. Knows no process."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LONGEST_LINE_CHARACTERS: Final = 300
_TAIL_BYTES: Final = 4096


class ProcessLog:
    """A log that its process appends to, and that takes at most twice its limit on the disk.

    Args:
        path: The file; what was there before is kept.
        longest_bytes: How much it may hold before it is moved to `<name>.log.1`.
    """

    def __init__(self, path: Path, longest_bytes: int) -> None:
        self._path = path
        self._longest_bytes = longest_bytes
        self._start = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Gives a descriptor for a process that starts now.

        Raises:
            OSError: The file cannot be written.
        """
        self.bound()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._start = os.fstat(descriptor).st_size
            yield descriptor
        finally:
            os.close(descriptor)

    def bound(self) -> None:
        """Copies a log that has grown too long aside and empties it: its writer appends.

        What cannot be done now is tried at the next look.
        """
        with contextlib.suppress(OSError):
            if self._path.stat().st_size > self._longest_bytes:
                aside = self._path.with_suffix(".log.1")
                # On a full disk the log is emptied all the same.
                with contextlib.suppress(OSError):
                    aside.touch(mode=0o600)
                    shutil.copyfile(self._path, aside)
                os.truncate(self._path, 0)
                self._start = 0

    def last_line(self) -> str:
        """Returns the last line since the process was started, shortened; empty without one."""
        try:
            with self._path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._start, size - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1].strip()[:_LONGEST_LINE_CHARACTERS] if lines else ""
