"""Finds and ends processes together with what they started. Knows process ids, not the stack."""

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterable
from typing import Final

import psutil

_POLL_SECONDS: Final = 0.05
_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_SAME_START_SECONDS: Final = 1.0


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants whose own parent dies (Linux only).

    A run that outlives a killed daemon is then still a child of the supervisor, which can end it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def find_process(pid: int, created_at: float) -> psutil.Process | None:
    """Returns the process if it still is the one that was started then.

    Args:
        pid: Its process id, which may belong to another process by now.
        created_at: Start time in seconds since the epoch.
    """
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if abs(process.create_time() - created_at) < _SAME_START_SECONDS and is_alive(process):
            return process
    return None


def is_alive(process: psutil.Process) -> bool:
    """Returns whether the process runs: a zombie does not."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def descendants(pid: int) -> list[psutil.Process]:
    """Returns everything that a process started and that still has it as an ancestor."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def end_all(processes: Iterable[psutil.Process], *, grace_seconds: float) -> None:
    """Ends processes: SIGTERM, then SIGKILL for those that remain.

    Args:
        processes: Any processes; dead ones are skipped.
        grace_seconds: How long they have to end by themselves.
    """
    remaining = [process for process in processes if is_alive(process)]
    for process in remaining:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    remaining = _wait_for(remaining, grace_seconds)
    for process in remaining:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait_for(remaining, 5.0)


def end_tree(root: psutil.Process, *, grace_seconds: float) -> None:
    """Ends a process and everything below it, as it was when this was called."""
    end_all([root, *descendants(root.pid)], grace_seconds=grace_seconds)


def reap_orphans(own_pids: set[int]) -> None:
    """Collects dead children that were adopted, so that they do not stay as zombies.

    Args:
        own_pids: Children that somebody else waits for.
    """
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.pid not in own_pids and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def _wait_for(processes: list[psutil.Process], timeout_seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + timeout_seconds
    remaining = [process for process in processes if is_alive(process)]
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        remaining = [process for process in remaining if is_alive(process)]
    return remaining
