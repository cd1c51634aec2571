"""Ends what a killed supervisor left behind. Knows the state file, not how things are started."""

from datanika_stack.layout import Home
from datanika_stack.process_tree import end_all, end_tree, find_process, is_alive
from datanika_stack.state import StackState, is_supervised, read_state

_GRACE_SECONDS = 3.0


def end_leftovers(home: Home) -> int:
    """Ends the processes that the last supervisor of this home recorded and that still run.

    Databases are not among them: they are adopted by the next start, or stopped by their own rules.

    Args:
        home: A home that no supervisor runs in.

    Returns:
        How many processes it found.
    """
    state = read_state(home)
    if state is None or is_supervised(home):
        return 0
    return _end_recorded(state)


def _end_recorded(state: StackState) -> int:
    found = 0
    for entry in state.processes:
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
