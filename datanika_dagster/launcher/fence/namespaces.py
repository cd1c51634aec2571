"""Namespaces of a child's own, and the process outside that only waits for it."""

import os
import select
import signal
from typing import NoReturn

import datanika_dagster.launcher.fence.privileges as privileges
import datanika_dagster.launcher.fence.system_call_filter as system_call_filter
import datanika_dagster.launcher.fence.system_calls as linux

EXIT_BROKEN = 70
"""EX_SOFTWARE of sysexits.h."""

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def is_first_process() -> bool:
    """Returns whether this is the first process of a process namespace."""
    return os.getpid() == 1


def unshare(*, has_network: bool, has_own_processes: bool, is_root: bool) -> None:
    """Moves this process into namespaces of its own.

    Its own process stays where it is: the next one that it forks is the first of the new
    process namespace.

    Args:
        has_network: Keep the machine's network.
        has_own_processes: Also a namespace of processes.
        is_root: Without that, a user namespace comes first, in which it keeps its user.

    Raises:
        OSError: The kernel refuses.
    """
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    flags |= 0 if has_network else linux.CLONE_NEWNET
    flags |= linux.CLONE_NEWPID if has_own_processes else 0
    if is_root:
        linux.unshare(flags)
        return
    uid, gid = os.geteuid(), os.getegid()
    # The files of a process that is not dumpable belong to root, also to itself.
    linux.control(linux.PR_SET_DUMPABLE, 1)
    linux.unshare(flags | linux.CLONE_NEWUSER)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1")):
        _write_own(name, line)
    _write_own("gid_map", f"{gid} {gid} 1")
    linux.control(linux.PR_SET_DUMPABLE, 0)


def fork_as_first_process() -> int:
    """Forks like `os.fork`, the child being the first process of a process namespace.

    For root only. Against `unshare` and one more fork in the child this saves a fork of everything
    that the host has imported (17 ms of processor time, measured). Nothing but this one fork may
    happen in between: the host has a single thread.

    Raises:
        OSError: The kernel refuses; nothing has been forked.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.unshare(linux.CLONE_NEWPID)
        child = -1
        try:
            child = os.fork()
        finally:
            if child != 0:
                linux.join_namespace(own, linux.CLONE_NEWPID)
    finally:
        os.close(own)
    return child


def continue_inside(user: tuple[int, int] | None) -> int:
    """Forks: returns in the first process of the new namespace; this one only waits for it.

    The namespace's first process ends with this one, and every other process in it with that.

    Args:
        user: Whom the waiting process becomes; None: it stays who it is.

    Returns:
        A descriptor to close once this process is what it is to be: the waiting one forwards no
        signal before that.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    alive, held = os.pipe()
    ready, unready = os.pipe()
    child = os.fork()
    if child:
        try:
            _wait_for(child, user, ready, held)
        finally:
            # Whatever fails: what called this is the child's to go on with, and not this one's.
            os._exit(EXIT_BROKEN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(held)
    os.close(ready)
    os.setsid()
    linux.control(linux.PR_SET_PDEATHSIG, int(signal.SIGKILL))
    ended, _, _ = select.select([alive], [], [], 0)
    os.close(alive)
    if ended:
        os._exit(1)
    return unready


def _wait_for(child: int, user: tuple[int, int] | None, ready: int, held: int) -> NoReturn:
    """Ends as the child ends, with nothing of what this process had."""
    for number in _FORWARDED:
        signal.signal(number, lambda received, _: os.kill(child, received))
    first, second = sorted((ready, held))
    os.closerange(0, first)
    os.closerange(first + 1, second)
    os.closerange(second + 1, os.sysconf("SC_OPEN_MAX"))
    if user is not None:
        privileges.become(*user)
    else:
        privileges.drop_capabilities()
    privileges.harden()
    system_call_filter.install()
    os.read(ready, 1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    _, status = os.waitpid(child, 0)
    _end_as(os.waitstatus_to_exitcode(status))


def _end_as(exit_code: int) -> NoReturn:
    if exit_code < 0:
        if -exit_code != signal.SIGKILL:
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    os._exit(abs(exit_code))


def _write_own(name: str, line: str) -> None:
    descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
