"""Which of this machine's worker hosts does what: launches go to the least loaded one.

Knows the hosts' protocol and the tag that says where a run is; nothing of Dagster.
"""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from datanika_dagster.launcher import worker
from datanika_dagster.launcher.host import client
from datanika_dagster.launcher.host.client import (
    HostGone,
    HostRefused,
    HostUnreachable,
    KnownHost,
)
from datanika_dagster.launcher.host.protocol import Code, Info, Launch, Status, Terminate
from datanika_dagster.launcher.worker import Worker
from datanika_dagster.settings import Settings

LAUNCH_SECONDS = 10.0
STATUS_SECONDS = 2.0
"""One that does not answer for so long is taken to run what it ran; there may be many to ask."""


def available(settings: Settings) -> list[KnownHost]:
    """Returns the hosts that answer, the least loaded first; at least one of them starts runs.

    Raises:
        HostUnreachable: There is none.
    """
    directory = settings.worker_sockets
    if directory is None:
        raise HostUnreachable("DATANIKA_WORKER_SOCKETS is not set: no worker host is known.")
    hosts = client.hosts_in(directory)
    if all(host.is_draining for host in hosts):
        raise HostUnreachable("No worker host answers that starts runs.")
    return hosts


def launch(hosts: list[KnownHost], request: Launch, order_fd: int) -> Worker | None:
    """Starts a run on the first host that takes it.

    Args:
        hosts: Those that answered a moment ago.
        request: The run.
        order_fd: Its sealed order; stays the caller's.

    Returns:
        Its process, the one that it has already where there is one; None where that has just ended.

    Raises:
        HostUnreachable: None took it, or one did not say whether it did.
        HostRefused: One refused for a reason that will not pass.
    """
    for host in hosts:
        if host.has_run(request.run_id):
            return _process_of(host, request.run_id)
    reason = "They start nothing new."
    for host in hosts:
        if host.is_draining:
            continue
        try:
            return _launch_on(host, request, order_fd)
        except _NotTaken as error:
            reason = str(error)
    raise HostUnreachable(f"No worker host has a place for the run. {reason}")


class _NotTaken(Exception):
    """A host has surely not started the run, and another may."""


def _launch_on(host: KnownHost, request: Launch, order_fd: int) -> Worker | None:
    try:
        connection = client.connect(host.path, LAUNCH_SECONDS)
    except HostUnreachable as error:
        # It has not heard of the run.
        raise _NotTaken(str(error)) from None
    try:
        with connection:
            started = connection.request(request, [order_fd])["worker"]
    except HostRefused as error:
        if error.why == Code.DUPLICATE:
            with client.connect(host.path) as again:
                return _process_of(KnownHost(host.path, again.request(Info())), request.run_id)
        if error.is_passing:
            raise _NotTaken(str(error)) from None
        raise
    return Worker(started["machine"], started["pid"], started["started"], host.name)


def _process_of(host: KnownHost, run_id: str) -> Worker | None:
    for one in host.children:
        if one["role"] == "run" and one.get("run_id") == run_id:
            found = worker.of_pid(one["pid"])
            return found and replace(found, host=host.name)
    return None


class Whereabouts(StrEnum):
    """What the hosts of this machine say of a run's process."""

    HERE = "here"
    NOWHERE = "nowhere"
    UNKNOWN = "unknown"
    """One of them does not answer."""


def find_run(settings: Settings, run_id: str) -> Whereabouts:
    """Asks all hosts whether one has a process of a run, whatever the run's tag says.

    Args:
        settings: Where the hosts are.
        run_id: The run.
    """
    if settings.worker_sockets is None:
        return Whereabouts.NOWHERE
    known = client.survey(settings.worker_sockets, STATUS_SECONDS)
    if any(host.has_run(run_id) for host in known.answering):
        return Whereabouts.HERE
    return Whereabouts.UNKNOWN if known.silent else Whereabouts.NOWHERE


def terminate(
    settings: Settings, of_run: Worker | None, run_id: str, *, grace_seconds: float
) -> bool:
    """Asks a run's host to end it, and returns whether it will.

    Args:
        settings: Where the hosts are.
        of_run: The run's process, None where nobody has written it down.
        run_id: The run.
        grace_seconds: How long it has to stop its jobs and to report.
    """
    request = Terminate(run_id=run_id, grace_seconds=grace_seconds)
    of_tag = _socket(settings, of_run)
    if of_tag is not None and _ask(of_tag, request):
        return True
    if settings.worker_sockets is None:
        return False
    hosts = client.hosts_in(settings.worker_sockets, STATUS_SECONDS)
    return any(_ask(host.path, request) for host in hosts if host.has_run(run_id))


def status(settings: Settings, of_run: Worker, run_id: str) -> tuple[str, str]:
    """Returns a run's status and what there is to say about it.

    The host's own word. One that does not answer may be busy, or stopped for a while together with
    its children: a run ends with its host, not with its host's silence. Where the host has gone, or
    knows nothing, what the system says about the process, and what the other hosts say.

    Args:
        settings: Where the hosts are.
        of_run: The run's process.
        run_id: The run.
    """
    path = _socket(settings, of_run)
    said = "Its worker host is not known here."
    if path is not None:
        try:
            with client.connect(path, STATUS_SECONDS) as connection:
                answer = connection.request(Status(run_id=run_id))
            said = str(answer["message"])
            if answer["status"] != "NOT_FOUND":
                return str(answer["status"]), said
        except HostGone as error:
            said = str(error)
        except (HostUnreachable, HostRefused) as error:
            return _of_silent_host(of_run, str(error))
    if worker.is_alive(of_run) or find_run(settings, run_id) is Whereabouts.HERE:
        return "RUNNING", said
    return "NOT_FOUND", f"Process {of_run.pid} has ended. {said}"


def _of_silent_host(of_run: Worker, silence: str) -> tuple[str, str]:
    if worker.is_here(of_run) and not worker.is_alive(of_run):
        return "NOT_FOUND", f"Process {of_run.pid} has ended. {silence}"
    return "RUNNING", silence


def _ask(path: Path, request: Terminate) -> bool:
    try:
        with client.connect(path) as connection:
            connection.request(request)
    except (HostUnreachable, HostRefused):
        return False
    return True


def _socket(settings: Settings, of_run: Worker | None) -> Path | None:
    if settings.worker_sockets is None or of_run is None or not of_run.host:
        return None
    return settings.worker_sockets / f"{of_run.host}.sock"
