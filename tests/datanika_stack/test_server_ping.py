"""A gRPC server asked over a socket: that it serves, and everything else it can be."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from datanika_stack import server_ping
from datanika_stack.server_ping import grpc_serves, in_background

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def path(short_dir: Path) -> Path:
    return short_dir / "server.sock"


@pytest.fixture
def servicer(path: Path) -> Iterator[health.HealthServicer]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        server, made = grpc.server(pool), health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(made, server)
        server.add_insecure_port(f"unix:{path}")
        server.start()
        yield made
        server.stop(0).wait()


def test_a_server_that_serves(servicer: health.HealthServicer, path: Path) -> None:
    servicer.set("DagsterApi", SERVING)
    assert grpc_serves(path)


def test_a_server_that_does_not_serve_yet(servicer: health.HealthServicer, path: Path) -> None:
    started = time.monotonic()
    assert not grpc_serves(path), "it does not know the service"
    servicer.set("DagsterApi", NOT_SERVING)
    assert not grpc_serves(path)
    assert time.monotonic() - started < 2, "a refusal is no time-out"


def test_nobody_there(path: Path) -> None:
    assert not grpc_serves(path)


@pytest.mark.parametrize("sends", [b"", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100, b"\xff" * 64])
def test_somebody_else(path: Path, sends: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_ping, "_TIMEOUT_SECONDS", 0.5)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sends)

        thread = threading.Thread(target=serve)
        thread.start()
        assert not grpc_serves(path)
        thread.join()


def test_one_that_hangs_costs_no_time_of_whoever_asks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_ping, "_TIMEOUT_SECONDS", 0.5)
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(max_workers=1) as pool:
        listener.bind(str(path))
        listener.listen()  # the kernel accepts, nobody answers
        check = in_background(lambda: grpc_serves(path), pool)
        started = time.monotonic()
        assert check() is None
        assert time.monotonic() - started < 0.2
        time.sleep(0.8)
        assert check() is False
        assert check() is None, "asked anew"
