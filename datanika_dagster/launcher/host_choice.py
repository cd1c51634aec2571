"""Which of this machine's worker hosts does what: launches go to the least loaded one.

Knows the hosts' protocol and the tag that says where a run is; nothing of Dagster.
"""

from dataclasses import replace
from pathlib import Path

from datanika_dagster.launcher import worker
from datanika_dagster.launcher.host import client
from datanika_dagster.launcher.host.client import HostRefused, HostUnreachable, KnownHost
from datanika_dagster.launcher.host.protocol import Code, Info, Launch, Status, Terminate
from datanika_dagster.launcher.worker import Worker
from datanika_dagster.settings import Settings

LAUNCH_SECONDS = 10.0


def available(settings: Settings) -> list[KnownHost]:
    """Returns the hosts that start runs, the least loaded first.

    Raises:
        HostUnreachable: There is none.
    """
    directory = settings.worker_sockets
    if directory is None:
        raise HostUnreachable("DATANIKA_WORKER_SOCKETS is not set: no worker host is known.")
    hosts = [host for host in client.hosts_in(directory) if not host.is_draining]
    if not hosts:
        raise HostUnreachable("No worker host answers.")
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
    for host in hosts:
        try:
            with client.connect(host.path, LAUNCH_SECONDS) as connection:
                started = connection.request(request, [order_fd])["worker"]
        except HostRefused as error:
            if error.why == Code.DUPLICATE:
                with client.connect(host.path) as connection:
                    return _process_of(
                        KnownHost(host.path, connection.request(Info())), request.run_id
                    )
            if error.is_passing:
                continue
            raise
        return Worker(started["machine"], started["pid"], started["started"], host.name)
    raise HostUnreachable("Every worker host is full, or starts nothing new.")


def _process_of(host: KnownHost, run_id: str) -> Worker | None:
    for one in host.children:
        if one["role"] == "run" and one.get("run_id") == run_id:
            found = worker.of_pid(one["pid"])
            return found and replace(found, host=host.name)
    return None


def has_run(settings: Settings, run_id: str) -> bool:
    """Tells whether a host of this machine knows a process of the run, whatever the run's tag says.

    Args:
        settings: Where the hosts are.
        run_id: The run.
    """
    directory = settings.worker_sockets
    return directory is not None and any(one.has_run(run_id) for one in client.hosts_in(directory))


def terminate(settings: Settings, of_run: Worker, run_id: str, *, grace_seconds: float) -> bool:
    """Asks a run's host to end it, and returns whether it will.

    Args:
        settings: Where the hosts are.
        of_run: The run's process.
        run_id: The run.
        grace_seconds: How long it has to stop its jobs and to report.
    """
    path = _socket(settings, of_run)
    if path is None:
        return False
    try:
        with client.connect(path) as connection:
            connection.request(Terminate(run_id=run_id, grace_seconds=grace_seconds))
    except (HostUnreachable, HostRefused):
        return False
    return True


def status(settings: Settings, of_run: Worker, run_id: str) -> tuple[str, str]:
    """Returns a run's status and what there is to say about it.

    The host's own word, and where it gives none what the system says about the process: children
    end with their host.

    Args:
        settings: Where the hosts are.
        of_run: The run's process.
        run_id: The run.
    """
    path = _socket(settings, of_run)
    silence = "Its worker host is not known here."
    if path is not None:
        try:
            with client.connect(path) as connection:
                answer = connection.request(Status(run_id=run_id))
            return str(answer["status"]), str(answer["message"])
        except (HostUnreachable, HostRefused) as error:
            silence = str(error)
    if worker.is_alive(of_run):
        return "RUNNING", silence
    return "NOT_FOUND", f"Process {of_run.pid} has ended. {silence}"


def _socket(settings: Settings, of_run: Worker) -> Path | None:
    if settings.worker_sockets is None or not of_run.host:
        return None
    return settings.worker_sockets / f"{of_run.host}.sock"
