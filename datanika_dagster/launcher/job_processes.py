"""The process of one job, seen from its step: started by a worker host, or here where there is none.

Somebody else's Dagster project has no worker host; there a job is a scrubbed process of the run's own.
"""

import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from datanika_dagster import settings
from datanika_dagster.launcher import processes, work_directories
from datanika_dagster.launcher.host import client, own_connection
from datanika_dagster.launcher.host.client import HostConnection, HostRefused, HostUnreachable
from datanika_dagster.launcher.host.protocol import StartJob

CHILD_MODULE = "datanika_dagster.launcher.job_child"
POLL_SECONDS = 0.05
KILL_SECONDS = 5.0
_STDERR = 2


@dataclass(frozen=True)
class Terms:
    """Under what conditions a job runs.

    Attributes:
        org_id: Whose it is; a run's host knows better, and is asked for nothing else.
        deadline_seconds: After this long it is ended and its step fails.
        has_network: False where all it needs are local files.
    """

    org_id: int
    deadline_seconds: float
    has_network: bool = True


@dataclass(frozen=True)
class Ending:
    """How a job's process has ended.

    Attributes:
        exit_code: Negative for a signal.
        reason: `memory`, `deadline` or `cancelled`, where a host knows one.
    """

    exit_code: int
    reason: str | None = None


class JobProcess(ABC):
    """A job's process.

    Attributes:
        exit_seconds: How long it may take to end after its last word, as far as its run knows.
    """

    exit_seconds: float = 10.0

    @abstractmethod
    def ending(self) -> Ending | None:
        """Returns how it has ended, None while it lives; does not wait."""

    @abstractmethod
    def interrupt(self) -> None:
        """Asks it, and what it has started, to end."""

    @abstractmethod
    def kill(self) -> None:
        """Kills it and what it has started."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of what belongs to it, once it has ended."""

    def wait(self, timeout_seconds: float) -> Ending | None:
        """Returns how it has ended, None where it has not within the time."""
        deadline = time.monotonic() + timeout_seconds
        while (ending := self.ending()) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return ending

    def stop(self, grace_seconds: float) -> None:
        """Ends it, whatever it does, and returns when it has ended.

        Args:
            grace_seconds: How long it has to clean up after an interrupt before it is killed.
        """
        try:
            if self.ending() is None:
                self.interrupt()
                if self.wait(grace_seconds) is None:
                    self.kill()
                    self.wait(KILL_SECONDS)
        finally:
            self.close()


class HostedJob(JobProcess):
    """A job that a worker host has forked.

    Args:
        connection: The one that it was started over.
        job: Its name there.
        is_own: Whether the connection is this job's alone, and is closed with it.
    """

    exit_seconds = 60.0  # a busy host may be late to say so

    def __init__(self, connection: HostConnection, job: str, *, is_own: bool) -> None:
        self._connection = connection
        self._job = job
        self._is_own = is_own

    def ending(self) -> Ending | None:
        """Returns how it has ended; with its host it has, too."""
        try:
            ended = self._connection.ending_of(self._job)
        except HostUnreachable:
            return Ending(-9)
        return None if ended is None else Ending(int(ended["exit"]), ended.get("reason"))

    def interrupt(self) -> None:
        """Has the host ask it to end."""
        client.kill_job(self._connection, self._job, is_hard=False)

    def kill(self) -> None:
        """Has the host kill it."""
        client.kill_job(self._connection, self._job, is_hard=True)

    def close(self) -> None:
        """Closes a connection of its own."""
        if self._is_own:
            self._connection.close()


class OwnProcess(JobProcess):
    """A job that is a process of this one.

    Args:
        channel_fd: Its end of the channel.
    """

    def __init__(self, channel_fd: int) -> None:
        self._work_dir = work_directories.create(settings.read().work_dir(), "job")
        self._process = self._start(channel_fd)
        work_directories.own(self._work_dir, self._process.pid)

    def _start(self, channel_fd: int) -> subprocess.Popen[bytes]:
        environment = processes.scrubbed_environment(
            settings.inherited_environment(), self._work_dir
        )
        return processes.start(
            ["-m", CHILD_MODULE, str(channel_fd), str(self._work_dir)],
            environment=environment,
            pass_fds=[channel_fd],
        )

    def ending(self) -> Ending | None:
        """Returns how it has ended."""
        exit_code = self._process.poll()
        return None if exit_code is None else Ending(exit_code)

    def interrupt(self) -> None:
        """Interrupts its group."""
        processes.signal_group(self._process.pid, 2)

    def kill(self) -> None:
        """Kills its group."""
        processes.signal_group(self._process.pid, 9)

    def close(self) -> None:
        """Kills what it has left behind, and removes its directory."""
        processes.stop(self._process, grace_seconds=0.0)
        work_directories.remove(self._work_dir)


def start(kind: str, terms: Terms, channel_fd: int) -> JobProcess:
    """Starts the process of a job.

    Args:
        kind: What it is for.
        terms: Under what conditions.
        channel_fd: Its end of the channel; stays the caller's.

    Raises:
        HostUnreachable: This run's host has gone.
        HostRefused: It can start nothing more.
    """
    request = StartJob(
        org_id=terms.org_id,
        kind=kind,
        deadline_seconds=terms.deadline_seconds,
        has_network=terms.has_network,
        has_output=True,
    )
    own = own_connection.find()
    if own is not None:
        return HostedJob(own, client.start_job(own, request, [channel_fd, _STDERR]), is_own=False)
    directory = settings.read().worker_sockets
    if directory is None:
        return OwnProcess(channel_fd)
    return _of_any_host(directory, request, channel_fd)


def _of_any_host(directory: Path, request: StartJob, channel_fd: int) -> HostedJob:
    for host in client.hosts_in(directory):
        connection = _connected(host.path)
        if connection is None:
            continue
        try:
            job = client.start_job(connection, request, [channel_fd, _STDERR])
        except (HostRefused, HostUnreachable):
            connection.close()
            continue
        return HostedJob(connection, job, is_own=True)
    # Not in this process's stead: the host is what keeps the job from other orgs'.
    raise HostUnreachable("No worker host of the stack takes the job now; try again.")


def _connected(path: Path) -> HostConnection | None:
    try:
        return client.connect(path)
    except HostUnreachable:
        return None
