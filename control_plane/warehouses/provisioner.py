"""Asks the provisioner, which alone may create databases and roles (architecture, decision 18).

It listens on a Unix socket and takes one JSON object a line.
"""

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from control_plane.core.errors import Unavailable, Upstream

TIMEOUT_SECONDS = 60.0
MAXIMUM_ANSWER_BYTES = 65_536


@dataclass(frozen=True)
class Provisioner:
    """The client of the provisioner.

    Attributes:
        socket_path: Its Unix socket; None where this deployment has no provisioner.
    """

    socket_path: Path | None

    def ensure_warehouse(self, org_id: int) -> dict[str, Any]:
        """Makes the org's database and roles, or gives existing ones fresh passwords.

        Returns:
            The settings of the `managed_warehouse` connector, with passwords.

        Raises:
            Unavailable: The provisioner cannot be reached.
            Upstream: It refused or failed.
        """
        return self._ask("ensure_warehouse", org_id)["warehouse"]

    def create_reader(self, org_id: int) -> dict[str, Any]:
        """Makes the org's read-only login for people, or gives it a fresh password.

        Raises:
            Unavailable: The provisioner cannot be reached.
            Upstream: It refused or failed.
        """
        return self._ask("create_reader", org_id)["reader"]

    def close_reader(self, org_id: int) -> None:
        """Closes the org's login for people and ends its sessions.

        Raises:
            Unavailable: The provisioner cannot be reached.
            Upstream: It refused or failed.
        """
        self._ask("close_reader", org_id)

    def close_logins(self, org_id: int) -> None:
        """Closes all logins of the org's warehouse and drops those in Dagster's storage; data stay.

        `ensure_warehouse` opens the warehouse again.

        Raises:
            Unavailable: The provisioner cannot be reached.
            Upstream: It refused or failed.
        """
        self._ask("close_logins", org_id)

    def _ask(self, operation: str, org_id: int) -> dict[str, Any]:
        if self.socket_path is None:
            raise Unavailable("This deployment has no warehouse provisioner.")
        try:
            request = json.dumps({"op": operation, "org_id": org_id}).encode() + b"\n"
            answer = json.loads(_exchange(self.socket_path, request))
        except (OSError, ValueError):
            raise Unavailable("The warehouse provisioner does not answer.") from None
        if not answer.get("ok"):
            raise Upstream(f"The warehouse provisioner failed: {answer.get('error')}")
        return cast("dict[str, Any]", answer)


def _exchange(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_SECONDS)
        client.connect(str(path))
        client.sendall(line)
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < MAXIMUM_ANSWER_BYTES:
            chunk = client.recv(4096)
            if not chunk:
                break
            answer += chunk
        return answer
