"""What one may ask of a home from outside: is a stack running there, stop it, start it detached.

The commands of the terminal and the tests stand on this; it prints nothing.
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from datanika_stack.base_environment import PYTHON
from datanika_stack.clusters import source_cluster, stack_cluster
from datanika_stack.errors import StackError
from datanika_stack.layout import DEFAULT_PORT, Home, Ports
from datanika_stack.leftovers import end_leftovers, end_supervisor, remove_runtime_dir
from datanika_stack.private_files import make_private_directory
from datanika_stack.seal import hint_of
from datanika_stack.secrets import load
from datanika_stack.state import is_supervised, read_state

_STOP_SECONDS: Final = 60.0
_START_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.1
_LAST_LINES: Final = 20


@dataclass(frozen=True)
class StackStatus:
    """What `datanika status` shows.

    Attributes:
        database_url: Without its password.
        seal: `unsealed`, `sealed`, `uninitialized`; None where the control plane has not said.
        hint: What to do about the seal; None where nothing.
        isolation: `users`, `namespaces` or `none`: what keeps orgs' jobs apart.
        isolation_reason: Why not more; empty where there is no more.
    """

    state: str
    api_url: str | None
    dagster_url: str | None
    database_url: str | None
    processes: list[dict[str, Any]]
    seal: str | None = None
    hint: str | None = None
    isolation: str | None = None
    isolation_reason: str | None = None


def status_of(home: Home) -> StackStatus:
    """Returns the state of the stack in a home; `stopped` where there never was one."""
    state = read_state(home)
    if state is None:
        return StackStatus("stopped", None, None, None, [])
    urls = (state.api_url, state.dagster_url, state.database_url)
    if not is_supervised(home):
        return StackStatus("stopped", *urls, [])
    shown = ("name", "pid", "state", "restarts", "started_at", "reason")
    processes = [{key: getattr(entry, key) for key in shown} for entry in state.processes]
    return StackStatus(
        state.state,
        *urls,
        processes,
        state.seal,
        hint_of(state.seal),
        state.isolation,
        state.isolation_reason,
    )


def port_of(home: Home, given: int | None) -> int:
    """Returns the base port: the given one, the one this home had before, the default."""
    state = read_state(home)
    return given or (state.port if state else DEFAULT_PORT)


def stop(home: Home) -> bool:
    """Stops the stack in a home, and whatever a killed supervisor has left there.

    Returns:
        Whether there was something to stop.

    Raises:
        StackError: A process could not be stopped.
    """
    state = read_state(home)
    if state is None:
        return False
    was_running = is_supervised(home)
    if was_running:
        end_supervisor(state, grace_seconds=_STOP_SECONDS)
        _wait_for_lock(home)
    ended = end_leftovers(home)
    stopped = _stop_clusters(home, Ports(state.port))
    remove_runtime_dir(home)
    return was_running or ended > 0 or stopped


def start_detached(home: Home, arguments: list[str], report: Callable[[str], None]) -> None:
    """Starts a supervisor that outlives this process, and returns once its stack serves.

    Args:
        home: The stack's home.
        arguments: Options of `datanika up`, without `--detach`.
        report: Is told the phases as they change.

    Raises:
        StackError: It ended or did not get ready; the message has its last words.
    """
    make_private_directory(home.path)
    home.logs_dir.mkdir(exist_ok=True)
    log_file = home.logs_dir / "supervisor.log"
    with log_file.open("ab") as log:
        said_before = log.tell()
        child = subprocess.Popen(  # noqa: S603 - this program itself
            (*PYTHON, "datanika_stack.cli.main", "up", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    if not _follow(home, child, report):
        child.terminate()
        child.wait(_STOP_SECONDS)
        raise StackError(_last_words(log_file, said_before) or "the stack did not get ready")


def _follow(home: Home, child: "subprocess.Popen[bytes]", report: Callable[[str], None]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    shown = ""
    while child.poll() is None and time.monotonic() < deadline:
        state = read_state(home)
        if state is not None and state.pid == child.pid:
            if state.phase != shown:
                shown = state.phase
                report(shown)
            if state.state in ("running", "degraded"):
                # Its exit is nobody's to wait for here: silence the warning about that.
                child.returncode = 0
                return True
        time.sleep(_POLL_SECONDS)
    return False


def _wait_for_lock(home: Home) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while is_supervised(home):
        if time.monotonic() > deadline:
            raise StackError(f"the supervisor of {home.path} does not stop")
        time.sleep(_POLL_SECONDS)


def _stop_clusters(home: Home, ports: Ports) -> bool:
    """Stops databases that survived their supervisor."""
    if not home.secrets_file.exists():
        return False
    secrets = load(home)
    clusters = (source_cluster(home, ports, secrets), stack_cluster(home, ports, secrets))
    running = [cluster for cluster in clusters if cluster.pid is not None]
    for cluster in running:
        cluster.stop()
    return bool(running)


def _last_words(log_file: Path, offset: int) -> str:
    with log_file.open("rb") as log:
        log.seek(offset)
        lines = log.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_LAST_LINES:])
