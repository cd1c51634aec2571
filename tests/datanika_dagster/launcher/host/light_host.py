"""A worker host without Dagster and engines: its children do what their orders say, for tests."""

import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from datanika_dagster import settings
from datanika_dagster.launcher.fence import Fence, Level
from datanika_dagster.launcher.host import sealed_memory
from datanika_dagster.launcher.host.client import HostConnection
from datanika_dagster.launcher.host.ground import Bodies, RunStart
from datanika_dagster.launcher.host.places import Places
from datanika_dagster.launcher.host.protocol import StartJob
from datanika_dagster.launcher.host.server import Host

FOREVER = 600
UNREACHED = 42


def run(start: RunStart) -> int:
    order = json.loads(sealed_memory.read(start.order_fd))
    if "job" in order:
        control = HostConnection(socket.socket(fileno=start.control_fd))
        ours, theirs = socket.socketpair()
        request = StartJob(org_id=order.get("claims"), kind="test", deadline_seconds=FOREVER)
        control.request(request, [theirs.fileno()])
        theirs.close()
        ours.sendall(json.dumps(order["job"]).encode() + b"\n")
    if "ask" in order:
        connected = socket.socket(fileno=start.control_fd)
        connected.sendall(json.dumps(order["ask"]).encode() + b"\n")
        Path(order["answer"]).write_bytes(connected.recv(65536))
    return act(order)


def job(channel_fd: int) -> int:
    channel = socket.socket(fileno=channel_fd)
    order = json.loads(channel.makefile("rb").readline())
    return act(order)


def report(start: RunStart) -> int:
    order = json.loads(sealed_memory.read(start.order_fd))
    if "reports" in order:
        Path(order["reports"], start.run_id).write_text(f"{start.ending} {order['token']}")
    return 0


def act(order: dict) -> int:
    """Does what an order says, in the order of the lines below."""
    if "evidence" in order:
        Path(order["evidence"]).write_text(json.dumps(evidence()))
    if "output" in order:
        os.write(1, order["output"].encode())
    if order.get("litter"):
        Path("left.txt").write_text("left")
    if order.get("blocks"):  # in C, where Python's handlers do not run
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
        signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 1 << 31 - 1)
    if "connect" in order:
        try:
            socket.create_connection(("127.0.0.1", order["connect"]), 5).close()
        except OSError:
            return UNREACHED
    time.sleep(order.get("seconds", 0))
    if "signal" in order:
        os.kill(os.getpid(), order["signal"])
    return order.get("exit", 0)


def evidence() -> dict:
    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "environment": dict(os.environ),
        "directory": str(Path.cwd()),
        "descriptors": sorted(
            str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()
        ),
    }


def main(fence: Fence | None = None, kind: type[Places] = Places) -> None:
    directory, name = Path(sys.argv[2]), sys.argv[4]
    bodies = Bodies(run, job, report)
    places = kind.of(settings.read())
    Host(directory / f"{name}.sock", bodies, places, fence or Fence(Level.NONE)).serve()


if __name__ == "__main__":
    main()
