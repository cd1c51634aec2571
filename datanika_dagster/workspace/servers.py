"""Which code servers there are and which serve, as the supervisor's file says; and how one is woken.

It knows files only. Whoever may write into the directory of the requests may wake, and nobody else.
"""

import contextlib
import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "code_servers.json"
SERVING = "serving"
FAILING = "failing"
WAKES_AGAIN_SECONDS = 1.0

Version = tuple[int, int, int] | None


@dataclass(frozen=True)
class Server:
    """One org's code server.

    Attributes:
        org_id: The org's number.
        sha256: The manifest that is published.
        state: `asleep`, `starting`, `serving` or `failing`.
        reason: Why it does not serve; None where nothing is wrong.
    """

    org_id: int
    sha256: str
    state: str
    reason: str | None

    @property
    def is_serving(self) -> bool:
        """Whether it answers."""
        return self.state == SERVING


def version_of(path: Path) -> Version:
    """Returns something that differs after each write of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class Servers:
    """The supervisor's file, read again whenever it has changed.

    Args:
        path: `code_servers.json`. Where there is none, nobody supervises the servers.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version: Version = None
        self._servers: dict[str, Server] = {}
        self._wake_dir: Path | None = None
        self._asked: dict[str, float] = {}

    def now(self) -> dict[str, Server]:
        """Returns the servers by code location; what cannot be read changes nothing."""
        with self._lock:
            version = version_of(self._path)
            if version is not None and version != self._version:
                self._version = version
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                    self._take(json.loads(self._path.read_text()))
            return self._servers

    def find(self, name: str) -> Server | None:
        """Returns the server of a code location."""
        return self.now().get(name)

    def use(self, name: str) -> None:
        """Asks for a server, and that it stays for a while; often is as good as once."""
        server = self.find(name)
        now = time.monotonic()
        if server is None or self._wake_dir is None:
            return
        if now - self._asked.get(name, -WAKES_AGAIN_SECONDS) < WAKES_AGAIN_SECONDS:
            return
        self._asked[name] = now
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            os.close(os.open(self._wake_dir / str(server.org_id), flags, 0o600))

    def _take(self, content: Any) -> None:
        servers = {
            name: Server(
                int(entry["org_id"]), str(entry["sha256"]), str(entry["state"]), entry["reason"]
            )
            for name, entry in content["servers"].items()
        }
        self._wake_dir = Path(content["wake_dir"])
        self._servers = servers
