"""Asks the operating system whether a TCP port can be bound. Knows nothing of the stack."""

import errno
import socket

from datanika_stack.errors import PortBusyError


def ensure_port_free(port: int, purpose: str, host: str = "127.0.0.1") -> None:
    """Checks that nothing listens on the port.

    Args:
        port: The TCP port.
        purpose: What it is for, in the error's words.
        host: The address that will be bound.

    Raises:
        PortBusyError: Somebody listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Servers set SO_REUSEADDR too: connections in TIME_WAIT of an earlier stack do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise PortBusyError(port, purpose) from error
            raise


def is_listening(port: int, host: str = "127.0.0.1", *, timeout_seconds: float = 0.5) -> bool:
    """Returns whether a TCP connection to the port is accepted."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds):
            return True
    except OSError:
        return False
