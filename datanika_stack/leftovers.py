"""Ends what a killed supervisor left behind. Knows the state file, not how things are started."""

import contextlib
import shutil
from typing import Final

from datanika_stack.layout import Home
from datanika_stack.process_tree import end_all, end_tree, find_process, is_alive
from datanika_stack.state import StackState, read_state

_GRACE_SECONDS: Final = 3.0


def end_leftovers(home: Home) -> int:
    """Ends the processes that the last supervisor of this home recorded and that still run.

    The caller must know that no other supervisor runs in the home, best by holding its lock.
    Databases are not among them: they are adopted by the next start, or stopped by their own rules.

    Args:
        home: The home.

    Returns:
        How many processes it found.
    """
    state = read_state(home)
    found = 0
    for entry in state.processes if state else ():
        if entry.pid is None or entry.created_at is None:
            continue
        process = find_process(entry.pid, entry.created_at)
        if process is not None:
            found += 1
            end_tree(process, grace_seconds=_GRACE_SECONDS)
    return found


def end_supervisor(state: StackState, *, grace_seconds: float) -> bool:
    """Asks a supervisor to stop, and kills it when it does not.

    Args:
        state: What it wrote about itself.
        grace_seconds: How long it may take; stopping a busy stack takes some time.

    Returns:
        Whether it stopped by itself.
    """
    process = find_process(state.pid, state.created_at)
    if process is None:
        return True
    end_all([process], grace_seconds=grace_seconds)
    return not is_alive(process)


def remove_runtime_dir(home: Home) -> None:
    """Removes the directory of the Unix sockets once nothing of the home runs any more.

    What somebody still uses, such as the socket of a database, stays with its directory.
    """
    sockets = (home.provisioner_socket, home.key_agent_socket)
    directories = (home.postgres_socket_dir, home.source_socket_dir)
    for own in (home.code_servers_dir, home.worker_sockets_dir):
        shutil.rmtree(own, ignore_errors=True)
    with contextlib.suppress(OSError):
        for socket in sockets:
            socket.unlink(missing_ok=True)
    for directory in (*directories, home.runtime_dir):
        with contextlib.suppress(OSError):
            directory.rmdir()
