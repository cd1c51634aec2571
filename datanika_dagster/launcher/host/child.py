"""A child of the host, from the fork to its last instruction.

It knows the operating system: session, signals, descriptors, environment. What the child is there
for it is told as a function.
"""

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from datanika_dagster import settings
from datanika_dagster.launcher import processes
from datanika_dagster.launcher.fence import Fence, Level, Principal, Surroundings

EXIT_BROKEN = 70
"""EX_SOFTWARE of sysexits.h: it ended in a way that was nobody's intention."""

EXIT_CANCELLED = 130
TEMPORARY = "tmp"
_BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class Fenced:
    """For whom a child works, and where.

    Attributes:
        fence: Keeps it in.
        principal: For whom.
        surroundings: Its directories and limits.
        own: Directories that are its user's although it may only read them.
    """

    fence: Fence
    principal: Principal
    surroundings: Surroundings
    own: tuple[Path, ...] = ()

    def prepare(self) -> None:
        """Gives the child's directories to its user.

        Raises:
            OSError: A directory is missing or somebody else's.
        """
        given = replace(self.surroundings, writable=(*self.surroundings.writable, *self.own))
        self.fence.prepare(self.principal, given)


@dataclass(frozen=True)
class Start:
    """How a child starts.

    Attributes:
        body: What it does; returns its exit code.
        fenced: None for the host's own errands.
        output_fd: Where stdout and stderr go; None: nowhere.
        kept_fds: The descriptors that the body uses; all others are closed.
        environment: The whole environment, beside the directories.
    """

    body: Callable[[], int]
    fenced: Fenced | None = None
    output_fd: int | None = None
    kept_fds: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def fork(start: Start, forget: Callable[[], None]) -> int:
    """Starts a child and returns its process id.

    Args:
        start: What it is.
        forget: Called in the child: lets go of what the host knows of others.

    Raises:
        OSError: The system has no process left, or a directory cannot be given to its user.
    """
    fenced = start.fenced
    if fenced is not None:
        fenced.prepare()
    host_pid = os.getpid()
    # Until the child has handlers of its own, a signal to it would wake the host as if it were its.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        pid = os.fork() if fenced is None else fenced.fence.fork(fenced.principal)
        if pid == 0:
            _live(start, forget, host_pid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(start: Start, forget: Callable[[], None], host_pid: int) -> NoReturn:
    exit_code = EXIT_BROKEN
    try:
        forget()
        _settle(start, host_pid)
        exit_code = start.body()
    except KeyboardInterrupt:
        exit_code = EXIT_CANCELLED
    except BaseException as error:  # noqa: BLE001 - the process ends with this; nothing goes on
        # Where and what class, but no message: it may hold a value.
        lines = traceback.format_tb(error.__traceback__)
        sys.stderr.write(f"{''.join(lines)}{type(error).__name__}\n")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Not sys.exit: the host's own frames are below this one.
        os._exit(exit_code)


def _settle(start: Start, host_pid: int) -> None:
    os.setsid()
    processes.die_with_parent()
    # 0: the first process of a namespace of its own does not see its parent.
    if os.getppid() not in (host_pid, 0):
        os._exit(EXIT_BROKEN)
    _reset_signals()
    os.umask(0o022)  # the fence makes directories that its user must pass
    _keep_only(start)
    settings.replace_environment(_environment(start))
    tempfile.tempdir = None
    if start.fenced is not None:
        start.fenced.fence.enter(start.fenced.principal, start.fenced.surroundings)
        if start.fenced.fence.level is not Level.USERS:
            os.umask(0o077)


def _environment(start: Start) -> dict[str, str]:
    if start.fenced is None:
        return dict(start.environment)
    home = start.fenced.surroundings.work_dir
    return {**start.environment, "HOME": str(home), "TMPDIR": str(home / TEMPORARY)}


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _keep_only(start: Start) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    output = nothing if start.output_fd is None else start.output_fd
    os.dup2(output, 1)
    os.dup2(output, 2)
    low = 3
    for descriptor in sorted({*start.kept_fds}):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
