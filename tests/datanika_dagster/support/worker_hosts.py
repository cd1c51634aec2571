"""Worker hosts as the supervisor starts them, and what a test knows of a running one."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datanika_dagster.launcher.host import client
from datanika_dagster.launcher.host.client import HostConnection, HostUnreachable
from datanika_dagster.launcher.host.protocol import Info

START_SECONDS = 60
MODULE = "datanika_dagster.launcher.host"


@dataclass
class RunningHost:
    """A host's process, and where it listens."""

    process: subprocess.Popen[bytes]
    socket: Path
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, timeout_seconds: float = 5) -> HostConnection:
        return client.connect(self.socket, timeout_seconds)

    def info(self) -> dict:
        with self.connect() as connection:
            return connection.request(Info())

    def said(self) -> str:
        return self.log.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_until_gone(self, timeout_seconds: float = 20) -> int:
        return self.process.wait(timeout_seconds)


@contextmanager
def worker_host(
    directory: Path,
    environment: Mapping[str, str],
    *,
    name: str = "test",
    module: str = MODULE,
    user: str | None = None,
) -> Iterator[RunningHost]:
    """Runs a host in a private directory of sockets for the block."""
    directory.mkdir(mode=0o700, exist_ok=True)
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--sockets", str(directory), "--name", name],
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
            | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
            | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=user,
        )
    host = RunningHost(process, directory / f"{name}.sock", log)
    try:
        _wait_until_it_answers(host)
        yield host
    finally:
        end(host)


def end(host: RunningHost) -> None:
    """Ends a host and its children, whatever state it is in."""
    if host.process.poll() is None:
        host.signal(signal.SIGCONT)
        host.signal(signal.SIGINT)
        try:
            host.wait_until_gone()
        except subprocess.TimeoutExpired:
            host.process.kill()
            host.process.wait()


def _wait_until_it_answers(host: RunningHost) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and host.process.poll() is None:
        try:
            host.info()
        except HostUnreachable:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(host.said()[-4000:])


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def descriptors_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
