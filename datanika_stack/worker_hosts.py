"""Keeps a worker host running, and replaces it without ending what it runs.

The new one serves before the old one is told to start nothing more; the old one ends with its last
child. Knows how hosts are started and asked, nothing of runs.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from datanika_dagster.launcher.host import client
from datanika_dagster.launcher.host.client import HostRefused, HostUnreachable
from datanika_dagster.launcher.host.protocol import Info
from datanika_stack.health import HealthCheck
from datanika_stack.private_files import make_private_directory
from datanika_stack.processes import ManagedProcess, ProcessSpec, ProcessState

_REQUEST: Final = "restart"
_ANSWER_SECONDS: Final = 1.0

MakeSpec = Callable[[str], ProcessSpec]


def host_answers(socket_path: Path) -> HealthCheck:
    """Returns a check that a worker host says what runs on it."""

    def check() -> bool:
        try:
            with client.connect(socket_path, _ANSWER_SECONDS) as connection:
                connection.request(Info())
        except (HostUnreachable, HostRefused):
            return False
        return True

    return check


def request_restart(sockets_dir: Path) -> None:
    """Asks whoever keeps the hosts of a directory to replace them.

    Raises:
        OSError: There is no such directory.
    """
    (sockets_dir / _REQUEST).touch(mode=0o600)


class WorkerHosts:
    """The worker hosts of a stack: one that serves, and those before it that still have children.

    Args:
        make_spec: Returns what to start for a name.
        sockets_dir: Where they listen.
        log_dir: Where they log.
    """

    def __init__(self, make_spec: MakeSpec, sockets_dir: Path, log_dir: Path) -> None:
        self._make_spec = make_spec
        self._sockets_dir = sockets_dir
        self._log_dir = log_dir
        self._number = 0
        self._hosts: list[ManagedProcess] = []

    def start(self) -> None:
        """Starts the first one."""
        make_private_directory(self._sockets_dir)
        for leftover in (*self._sockets_dir.glob(client.SOCKETS), self._sockets_dir / _REQUEST):
            leftover.unlink(missing_ok=True)
        self._start_next()

    def processes(self) -> list[ManagedProcess]:
        """Returns all of them, the one that serves last."""
        return list(self._hosts)

    def core(self) -> list[ManagedProcess]:
        """Returns the one that must run: until another one serves, the one that it replaces."""
        return self._hosts[-2:-1] if self.is_restarting else self._hosts[-1:]

    @property
    def is_restarting(self) -> bool:
        """Whether one that serves is being replaced by one that does not serve yet."""
        if len(self._hosts) < 2:
            return False
        before, newest = self._hosts[-2:]
        is_first_start = newest.state is ProcessState.STARTING and newest.restarts == 0
        return is_first_start and before.state is ProcessState.RUNNING

    def tick(self) -> None:
        """Looks at them, starts another one where that was asked for, lets those before it drain."""
        for host in self._hosts:
            host.tick()
        self._hosts = [host for host in self._hosts if host.state is not ProcessState.STOPPED]
        if not self._hosts:
            return
        if self._hosts[-1].state is ProcessState.RUNNING:
            for host in self._hosts[:-1]:
                host.retire()
            if self._is_restart_asked_for():
                self._start_next()

    def _is_restart_asked_for(self) -> bool:
        with contextlib.suppress(OSError):
            (self._sockets_dir / _REQUEST).unlink()
            return True
        return False

    def _start_next(self) -> None:
        self._number += 1
        host = ManagedProcess(self._make_spec(f"host_{self._number}"), self._log_dir)
        host.start()
        self._hosts.append(host)
