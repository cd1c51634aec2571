"""Ways to ask a process whether it serves. Each returns a yes or no, soon, and never raises."""

import http.client
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

# None: it is not known yet, ask again in a moment.
HealthCheck = Callable[[], bool | None]
_TIMEOUT_SECONDS: Final = 1.0
_SERVER_ERROR: Final = 500
WILDCARD_HOSTS: Final = ("0.0.0.0", "", "::")  # noqa: S104 - names to compare with
LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1", "localhost")


def loopback_of(host: str) -> str:
    """Returns where this machine reaches a server that binds the address."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def http_answers(port: int, path: str, host: str = "127.0.0.1") -> HealthCheck:
    """Returns a check that a GET is answered with a status below 500.

    Args:
        port: TCP port.
        path: Path of the URL; a redirect or a refused login counts as an answer.
        host: Address to ask; a wildcard address is asked on loopback.
    """
    address = loopback_of(host)

    def check() -> bool:
        connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < _SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check


def socket_accepts(path: Path) -> HealthCheck:
    """Returns a check that a connection to a Unix socket is accepted."""

    def check() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_TIMEOUT_SECONDS)
            try:
                client.connect(str(path))
            except OSError:
                return False
            return True

    return check


def always() -> bool:
    """For a process that offers nothing to ask: it is healthy while it lives."""
    return True
