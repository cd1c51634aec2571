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


def _give_up_the_rest() -> None:
    linux.control(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
    linux.drop_capabilities()
