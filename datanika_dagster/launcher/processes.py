"""Starting and stopping the processes that runs and jobs are.

It knows the operating system and nothing of runs.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


def start(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    output: IO[bytes] | int | None = None,
) -> subprocess.Popen[bytes]:
    """Starts this Python with `arguments` as the leader of a new session.

    Args:
        arguments: What follows `python`; visible to everybody on the machine, so no secrets.
        environment: The whole environment; nothing is inherited.
        pass_fds: The descriptors it keeps, beside 0 to 2.
        output: Where its stdout and stderr go; None: where ours go.
    """
    return subprocess.Popen(  # noqa: S603 - our own modules, no user input
        [sys.executable, *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes], *, grace_seconds: float) -> int:
    """Ends a process that `start` started, with everything it has started itself.

    Args:
        process: May have ended already.
        grace_seconds: How long it has to clean up after an interrupt before it is killed.

    Returns:
        Its exit code, negative for a signal.
    """
    if process.poll() is None:
        signal_group(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def signal_group(leader_pid: int, signal_number: int) -> None:
    """Sends a signal to a process group; does nothing where it has gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal_number)


def children_of(pid: int) -> list[int]:
    """Returns what a process of one thread has forked and not collected; nothing where nobody tells.

    https://man7.org/linux/man-pages/man5/proc_tid_children.5.html
    """
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def harden_this_process() -> None:
    """Where the system can: dies with its parent, never gains privileges, shows no memory."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    forbid_privileges()
    hide_this_process()


def die_with_parent() -> None:
    """Where the system can: is killed when the thread that started this process ends.

    Not inherited, and cleared by a change of user
    (https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def forbid_privileges() -> None:
    """Where the system can: nothing that this process executes gains privileges."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def hide_this_process() -> None:
    """Where the system can: other processes of the user cannot read memory or environment.

    Root reads everything all the same (https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_open_files(number: int) -> None:
    """Lets this process open that many files, or as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def scrubbed_environment(inherited: Mapping[str, str], home: Path) -> dict[str, str]:
    """Returns the environment of a process that works for a tenant: nothing but where it is.

    Args:
        inherited: The few variables that are passed on.
        home: The process's private directory, also for temporary files.
    """
    temporary = home / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    return {**inherited, "HOME": str(home), "TMPDIR": str(temporary)}
