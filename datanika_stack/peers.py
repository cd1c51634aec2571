"""Who is at the other end of a Unix socket, and what the kernel keeps others from seeing of us.

Knows the operating systems, not what is served.
"""

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h
# macOS: sys/un.h and sys/ucred.h (`struct xucred`: version, uid, number of groups, 16 groups).
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
_XUCRED: Final = struct.Struct("IIh2x16I")
_LINUX_UCRED: Final = struct.Struct("3i")  # `struct ucred`: pid, uid, gid (socket(7))


@dataclass(frozen=True)
class Peer:
    """A process that has connected.

    Attributes:
        pid: As this process sees it; 0 where it is in another PID namespace.
        uid: Its effective user when it connected.
    """

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Returns who connected, as the kernel says.

    Raises:
        OSError: The kernel does not say.
    """
    if sys.platform == "linux":
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX_UCRED.size)
        pid, uid, _ = _LINUX_UCRED.unpack(packed)
        return Peer(pid, uid)
    credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
    _, uid, *_ = _XUCRED.unpack(credentials)
    (pid,) = struct.unpack("i", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))
    return Peer(pid, uid)


def is_own_user(peer: Peer) -> bool:
    """Returns whether the peer is this process's user, or root."""
    return peer.uid in (os.geteuid(), 0)


def in_sessions_of(leaders: Callable[[], set[int]]) -> Callable[[Peer], bool]:
    """Returns a check that a peer is this user's and belongs to a session of given leaders.

    A process cannot enter a session that it was not born in (setsid(2)): what the control plane
    starts for its tenants is in sessions of its own, and so is every run.

    Args:
        leaders: Gives the process ids of the session leaders as they are now.
    """

    def check(peer: Peer) -> bool:
        if not is_own_user(peer) or peer.pid < 1:
            return False
        try:
            return os.getsid(peer.pid) in leaders()
        except OSError:  # it has ended, or is none that this process can see
            return False

    return check


def keep_out_of_core_dumps() -> None:
    """Keeps this process's memory out of core dumps and from other processes of its user (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
