"""What `postmaster.pid` and the process table say about a PostgreSQL server on a data directory.

Reads and tidies; it must not start or stop anything.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

# Lines of postmaster.pid, from 0 (src/include/utils/pidfile.h).
_PID_LINE: Final = 0
_PORT_LINE: Final = 3
_SOCKET_DIR_LINE: Final = 4
_STATUS_LINE: Final = 7


@dataclass(frozen=True)
class Postmaster:
    """The server of one data directory, as its pid file describes it."""

    data_dir: Path

    def find(self) -> psutil.Process | None:
        """Returns the process if it really is a server on this directory, else None."""
        number = self._line(_PID_LINE)
        if not number.isdigit():
            return None
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(number))
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and str(self.data_dir) in process.cmdline():
                return process
        return None

    def is_ready(self) -> bool:
        """Returns whether the server runs and accepts connections."""
        return self._line(_STATUS_LINE) == "ready" and self.find() is not None

    def listens_on(self, port: int, socket_dir: Path) -> bool:
        """Returns whether the pid file names this port and this socket directory."""
        named = (self._line(_PORT_LINE), self._line(_SOCKET_DIR_LINE))
        return named == (str(port), str(socket_dir))

    def clear_stale_file(self) -> None:
        """Removes a pid file whose number belongs to an unrelated process by now.

        PostgreSQL removes a file of a dead process itself, but refuses to start where the number was
        given to another program of the same user, as happens after a reboot.
        """
        number = self._line(_PID_LINE)
        if not number.isdigit() or self.find() is not None:
            return
        if psutil.pid_exists(int(number)) and not self._has_backends():
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)

    def _has_backends(self) -> bool:
        """Returns whether a killed server's children still work in the directory."""
        place = str(self.data_dir.resolve())
        for process in psutil.process_iter(["name"]):
            if process.info["name"] in ("postgres", "postmaster"):
                with contextlib.suppress(psutil.Error):
                    if process.cwd() == place:
                        return True
        return False

    def _line(self, number: int) -> str:
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return ""
        return lines[number].strip() if len(lines) > number else ""
