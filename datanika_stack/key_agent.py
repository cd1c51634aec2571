"""Keeps the unlocked key-encryption keys for every process of the control plane, in memory only.

With a master password the keys exist nowhere but in memory. The agent lives in the supervisor (or, in
compose, in a process of its own), so that one unlocking is one for all processes and survives the
restart of any of them. Restarting the agent itself seals the platform again.

One request per connection on a Unix socket, one JSON object per line each way. It must not know how
keys are derived or what they open, and never writes them to a file or a log.
"""

import json
import socketserver
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet

from datanika_stack.peers import Peer, is_own_user, peer_of
from datanika_stack.private_files import make_private_directory

_LONGEST_REQUEST_BYTES: Final = 65_536
_MOST_KEYS: Final = 100
_IDLE_SECONDS: Final = 5.0


class InvalidRequestError(Exception):
    """The request is not one of the protocol's; the message never repeats what came."""


class HeldKeys:
    """The keys and their generation, which grows with every change and across restarts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A client that saw generation n of an agent before this one must see that it is another.
        self._generation = time.time_ns()
        self._keys: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return "HeldKeys(***)"

    def get(self) -> dict[str, Any]:
        """Returns the keys; none while sealed."""
        with self._lock:
            return {"generation": self._generation, "keys": list(self._keys)}

    def put(self, keys: list[dict[str, Any]]) -> dict[str, Any]:
        """Replaces the keys."""
        with self._lock:
            self._keys = keys
            self._generation += 1
            return {"generation": self._generation}


class KeyAgent:
    """Serves the keys on a Unix socket, in threads, until closed.

    Args:
        socket_path: Where to listen; its directory is made 0700, the socket 0600.
        may_ask: Whether a peer may; whoever may not gets a refusal.
    """

    def __init__(self, socket_path: Path, may_ask: Callable[[Peer], bool] = is_own_user) -> None:
        make_private_directory(socket_path.parent)
        socket_path.unlink(missing_ok=True)
        self._path = socket_path
        self._server = _Server(str(socket_path), _Handler)
        self._server.held = HeldKeys()
        self._server.may_ask = may_ask
        socket_path.chmod(0o600)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )

    def start(self) -> None:
        """Starts answering, in the background."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Returns whether requests are answered."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Forgets the keys, stops answering and removes the socket."""
        self._server.held.put([])
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    # A Unix socket refuses whoever finds this queue full.
    request_queue_size = 128
    held: HeldKeys
    may_ask: Callable[[Peer], bool]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Writes nothing: a traceback could hold what was being sent."""


class _Handler(socketserver.StreamRequestHandler):
    timeout = _IDLE_SECONDS
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        # Read first: who is still writing when the connection ends never reads why.
        line = self.rfile.readline(_LONGEST_REQUEST_BYTES)
        if self.server.may_ask(peer_of(self.connection)):
            self._send(_answer(self.server.held, line))
        else:
            self._send({"ok": False, "error": "this process may not ask for the platform's keys"})

    def _send(self, answer: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def _answer(held: HeldKeys, line: bytes) -> dict[str, Any]:
    try:
        request = _parse(line)
        match request:
            case {"op": "get"}:
                return {"ok": True, **held.get()}
            case {"op": "clear"}:
                return {"ok": True, **held.put([])}
            case {"op": "put", "keys": list(keys)}:
                return {"ok": True, **held.put(_checked(keys))}
        raise InvalidRequestError("a request is get, clear, or put with a list of keys")
    except InvalidRequestError as error:
        return {"ok": False, "error": str(error)}


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidRequestError("a request is one line of JSON") from None


def _checked(keys: list[Any]) -> list[dict[str, Any]]:
    if len(keys) > _MOST_KEYS:
        raise InvalidRequestError(f"{len(keys)} keys are too many; at most {_MOST_KEYS}")
    if not all(_is_key(key) for key in keys):
        raise InvalidRequestError("a key has an id (a positive number) and a Fernet key")
    return keys


def _is_key(key: Any) -> bool:
    if not isinstance(key, dict) or set(key) != {"id", "key"}:
        return False
    number, text = key["id"], key["key"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        return False
    try:
        Fernet(text)
    except (ValueError, TypeError):
        return False
    return isinstance(text, str)
