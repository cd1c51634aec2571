"""Asks the key agent of the stack, which holds the unlocked keys for every process.

One JSON line each way on a Unix socket, one request per connection. Answers with keys are never
logged, and neither is what a wrong answer held.
"""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from control_plane.core.errors import Unavailable
from control_plane.core.vault import KeyEncryptionKey

TIMEOUT_SECONDS = 2.0
MAXIMUM_ANSWER_BYTES = 65_536


class KeyAgent:
    """The key agent behind a Unix socket.

    Args:
        socket_path: The socket; only this process's user, or root, may have made it.
    """

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path

    def get(self) -> tuple[KeyEncryptionKey, ...]:
        """Returns the keys; none while the platform is sealed.

        Raises:
            Unavailable: The agent does not answer as it should.
        """
        entries = cast("list[dict[str, Any]]", self._ask({"op": "get"}).get("keys", []))
        return tuple(KeyEncryptionKey(int(entry["id"]), str(entry["key"])) for entry in entries)

    def put(self, keys: Sequence[KeyEncryptionKey]) -> None:
        """Gives every process these keys, in place of those before.

        Raises:
            Unavailable: The agent does not answer as it should.
        """
        self._ask({"op": "put", "keys": [{"id": key.id, "key": key.key} for key in keys]})

    def clear(self) -> None:
        """Takes the keys away from every process.

        Raises:
            Unavailable: The agent does not answer as it should.
        """
        self._ask({"op": "clear"})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = json.loads(self._exchange(json.dumps(request).encode() + b"\n"))
        except OSError as error:
            raise Unavailable(
                f"The key agent does not answer ({type(error).__name__}); is the stack running?"
            ) from None
        except ValueError:
            raise Unavailable("The key agent's answer cannot be read.") from None
        if not isinstance(answer, dict) or cast("dict[str, Any]", answer).get("ok") is not True:
            raise Unavailable("The key agent refused this process.")
        return cast("dict[str, Any]", answer)

    def _exchange(self, line: bytes) -> bytes:
        # In a directory that others can write, somebody else's socket could collect the keys.
        if self._path.stat().st_uid not in (os.geteuid(), 0):
            raise PermissionError
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(str(self._path))
            connection.sendall(line)
            with connection.makefile("rb") as answer:
                return answer.readline(MAXIMUM_ANSWER_BYTES)
