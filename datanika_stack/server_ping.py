"""Asks a gRPC server on a Unix socket whether it serves: one call of the standard health service.

A socket that accepts proves little: the kernel accepts for a process that hangs. The call is spoken as
plain HTTP/2 frames (https://httpwg.org/specs/rfc9113.html, https://grpc.io/docs/guides/health-checking/),
since a gRPC channel starts threads of its own, which a process that forks all day must not have.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from datanika_stack.health import HealthCheck

_TIMEOUT_SECONDS: Final = 3.0
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x7
_END_STREAM, _END_HEADERS = 0x1, 0x4
_HEADER_BYTES: Final = 9
_LONGEST_FRAME_BYTES: Final = 16_384
_SERVING: Final = b"\x08\x01"  # HealthCheckResponse{status: SERVING}
_PREFIX_BYTES: Final = 5  # of a gRPC message: compressed or not, and its length


def grpc_serves(path: Path) -> bool:
    """Returns whether the gRPC server on a Unix socket says within seconds that it serves.

    Args:
        path: The socket.
    """
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(_request())
            for kind, flags, payload in _frames(connection, deadline):
                if kind == _DATA:
                    return payload[_PREFIX_BYTES:] == _SERVING
                if kind in (_RST_STREAM, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
                    return False
        except OSError:
            return False
    return False


def in_background(check: Callable[[], bool], pool: ThreadPoolExecutor) -> HealthCheck:
    """Returns a check that never waits: it is asked again until the answer is there.

    Args:
        check: Takes as long as it needs.
        pool: Runs it.
    """
    pending: list[Future[bool]] = []

    def ask() -> bool | None:
        if not pending:
            pending.append(pool.submit(check))
        if not pending[0].done():
            return None
        return pending.pop().result()

    return ask


def _request() -> bytes:
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    headers = b"".join(_literal(name, value) for name, value in fields)
    # HealthCheckRequest{service: "DagsterApi"}, the name that Dagster's servers set to serving.
    message = b"\n\nDagsterApi"
    data = struct.pack(">BI", 0, len(message)) + message
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, data)
    )


def _literal(name: str, value: str) -> bytes:
    """Encodes a header without indexing (https://httpwg.org/specs/rfc7541.html#rfc.section.6.2.2)."""
    return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _frames(connection: socket.socket, deadline: float) -> Iterator[tuple[int, int, bytes]]:
    while True:
        header = _read(connection, _HEADER_BYTES, deadline)
        length = int.from_bytes(header[:3], "big")
        if length > _LONGEST_FRAME_BYTES:
            raise OSError(f"a frame of {length} bytes")
        yield header[3], header[4], _read(connection, length, deadline)


def _read(connection: socket.socket, size: int, deadline: float) -> bytes:
    received = b""
    while len(received) < size:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        part = connection.recv(size - len(received))
        if not part:
            raise OSError("the connection was closed")
        received += part
    return received
