"""Answers requests for orgs' databases and roles on a Unix socket in a private directory.

One JSON object per line each way. Whoever can open the socket may ask: the directory is 0700. It must
not decide who owns what: the control plane does. Warehouses and logins have a socket each, since who
keeps code servers has no business with warehouses.
"""

import json
import logging
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from datanika_manifest.names import is_slug
from datanika_stack.dagster_logins import DagsterLogins, LoginsUnavailableError
from datanika_stack.private_files import make_private_directory
from datanika_stack.provision import Provisioner, as_message

_LOG = logging.getLogger(__name__)
_LONGEST_REQUEST_BYTES: Final = 4096
_IDLE_SECONDS: Final = 60.0


class InvalidRequestError(Exception):
    """The request is not one of the protocol's."""


@dataclass(frozen=True)
class Request:
    """Whom an operation is for.

    Attributes:
        org_id: The org's number.
        org: Its slug, where the operation needs it.
    """

    org_id: int
    org: str = ""


Operations = Mapping[str, Callable[[Request], dict[str, Any]]]


def warehouse_operations(provisioner: Provisioner, logins: DagsterLogins) -> Operations:
    """Returns what the control plane may ask for.

    Args:
        provisioner: Does the work.
        logins: Those of an org whose warehouse is closed or dropped go, too.
    """

    def close_reader(request: Request) -> dict[str, Any]:
        provisioner.close_reader(request.org_id)
        return {}

    def close_logins(request: Request) -> dict[str, Any]:
        provisioner.close_logins(request.org_id)
        # Nothing is theirs, and whoever keeps code servers has them made again.
        logins.drop(request.org_id)
        return {}

    def drop(request: Request) -> dict[str, Any]:
        provisioner.drop_warehouse(request.org_id)
        logins.drop(request.org_id)
        return {}

    return {
        "ensure_warehouse": lambda request: {
            "warehouse": as_message(provisioner.ensure_warehouse(request.org_id))
        },
        "create_reader": lambda request: {
            "reader": as_message(provisioner.create_reader(request.org_id))
        },
        "close_reader": close_reader,
        "close_logins": close_logins,
        "drop_warehouse": drop,
    }


def login_operations(logins: DagsterLogins) -> Operations:
    """Returns what the keeper of code servers may ask for."""
    return {"ensure_logins": lambda request: logins.ensure(request) or {}}


class ProvisionServer:
    """Serves operations on a Unix socket, in threads, until closed.

    Args:
        operations: What may be asked for; one request at a time.
        socket_path: Where to listen; its directory is made 0700.
    """

    def __init__(self, operations: Operations, socket_path: Path) -> None:
        make_private_directory(socket_path.parent)
        socket_path.unlink(missing_ok=True)
        self._path = socket_path
        self._server = _Server(str(socket_path), _Handler)
        self._server.answer = _Answerer(operations)
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
        """Stops answering and removes the socket."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Answerer:
    """Turns one request into one answer; never raises."""

    def __init__(self, operations: Operations) -> None:
        self._lock = threading.Lock()
        self._operations = operations

    def __call__(self, line: bytes) -> dict[str, Any]:
        try:
            name, request = _parse(line)
            if name not in self._operations:
                known = ", ".join(sorted(self._operations))
                raise InvalidRequestError(f"unknown operation {name!r}; known: {known}")
            with self._lock:
                return {"ok": True, **self._operations[name](request)}
        except (InvalidRequestError, LookupError, LoginsUnavailableError) as error:
            return {"ok": False, "error": str(error)}
        except psycopg.Error as error:
            # The server's own words name roles at most: no statement of ours holds a password.
            _LOG.warning("provisioning failed: %s", error)
            return {"ok": False, "error": str(error).strip()}
        except OSError as error:
            return {"ok": False, "error": f"cannot read a certificate: {error.strerror}"}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answer: _Answerer


class _Handler(socketserver.StreamRequestHandler):
    timeout = _IDLE_SECONDS

    def handle(self) -> None:
        while True:
            try:
                line = self.rfile.readline(_LONGEST_REQUEST_BYTES)
            except (TimeoutError, ConnectionError):
                return
            if not line:
                return
            answer = self.server.answer(line)  # pyright: ignore[reportAttributeAccessIssue]
            try:
                self.wfile.write(json.dumps(answer).encode() + b"\n")
            except (BrokenPipeError, ConnectionError):
                return


def _parse(line: bytes) -> tuple[str, Request]:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise InvalidRequestError("a request is one line of JSON") from error
    if not isinstance(request, dict) or set(request) - {"org"} != {"op", "org_id"}:
        raise InvalidRequestError("a request has the fields op and org_id, and may have org")
    name, org_id, org = request["op"], request["org_id"], request.get("org", "")
    is_number = isinstance(org_id, int) and not isinstance(org_id, bool)
    if not isinstance(name, str) or not is_number or org_id < 1:
        raise InvalidRequestError("op is a text and org_id a positive number")
    if not isinstance(org, str) or (org and not is_slug(org)):
        raise InvalidRequestError("org is a slug")
    return name, Request(org_id, org)
