"""What webserver and daemon are told about the code servers: `code_servers.json` beside `workspace.yaml`.

It survives the stack: at the next start both know at once what was published, and show it from what
they keep, before anybody has answered.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datanika_stack.private_files import write_private

FILE_NAME = "code_servers.json"
ASLEEP = "asleep"


@dataclass(frozen=True)
class ServerEntry:
    """One org's code server.

    Attributes:
        name: The code location's name.
        org_id: The org's number.
        sha256: The manifest that is published.
        state: A `ServerState`.
        reason: Why it does not serve; None where nothing is wrong.
    """

    name: str
    org_id: int
    sha256: str
    state: str
    reason: str | None = None


class ServersFile:
    """Writes the file, and only when it changes.

    Args:
        directory: That of `workspace.yaml`.
        wake_dir: Where requests for a server are put.
    """

    def __init__(self, directory: Path, wake_dir: Path) -> None:
        self._path = directory / FILE_NAME
        self._wake_dir = wake_dir
        self._written: str | None = None

    def write(self, entries: Iterable[ServerEntry]) -> None:
        """Replaces the file if it would change.

        Raises:
            OSError: It cannot be written.
        """
        servers = {
            entry.name: {
                "org_id": entry.org_id,
                "sha256": entry.sha256,
                "state": entry.state,
                "reason": entry.reason,
            }
            for entry in sorted(entries, key=lambda entry: entry.org_id)
        }
        content = {"wake_dir": str(self._wake_dir), "servers": servers}
        text = json.dumps(content, indent=1) + "\n"
        if text != self._written:
            write_private(self._path, text)
            self._written = text

    def put_to_sleep(self) -> None:
        """Writes what the last start has left, but that nothing of it runs.

        Raises:
            OSError: It cannot be written.
        """
        self.write(ServerEntry(**entry) for entry in self._read())

    def _read(self) -> list[dict[str, Any]]:
        try:
            servers = json.loads(self._path.read_text())["servers"]
            return [
                {
                    "name": str(name),
                    "org_id": int(server["org_id"]),
                    "sha256": str(server["sha256"]),
                    "state": ASLEEP,
                }
                for name, server in servers.items()
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return []
