"""What a child may no longer do: other users, privileges, being read by others. Knows no mounts."""

import os
import signal

import datanika_dagster.launcher.fence.system_calls as linux


def become(uid: int, gid: int) -> None:
    """Becomes a user for good, without any group but its own and without capabilities.

    Raises:
        OSError: This process is not root.
    """
    linux.drop_bounding_set()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _give_up_the_rest()


def drop_capabilities() -> None:
    """Gives up the capabilities that come with a new user namespace, for good.

    Raises:
        OSError: This process is in no namespace of its own.
    """
    linux.drop_bounding_set()
    _give_up_the_rest()


def harden() -> None:
    """Dies with its parent, gains no privileges, shows nobody its memory or environment.

    Changing the user clears the first of these: call it afterwards
    (https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html).
    """
    if not linux.is_linux():
        return
    linux.control(linux.PR_SET_PDEATHSIG, int(signal.SIGKILL))
    linux.control(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.control(linux.PR_SET_DUMPABLE, 0)


def offer_memory(score: int) -> None:
    """Has the kernel end this process, and what it will start, before others when memory is short.

    It cannot take that back where `/proc` is read-only, or where root has said it.

    Args:
        score: From 0, as before, to 1000, first of all; a lower one than now is not set.

    Raises:
        OSError: The system does not let it.
    """
    if not linux.is_linux():
        return
    # The files of a process that is not dumpable belong to root, also to itself.
    linux.control(linux.PR_SET_DUMPABLE, 1)
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        try:
            if int(os.read(descriptor, 16)) < score:
                os.pwrite(descriptor, str(score).encode(), 0)
        finally:
            os.close(descriptor)
    finally:
        linux.control(linux.PR_SET_DUMPABLE, 0)


def _give_up_the_rest() -> None:
    linux.control(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
    linux.drop_capabilities()
