"""Linux system calls that Python has no function for, each with its error as an OSError.

It knows numbers and structures, and nothing of what they are used for. The numbers of the newer
calls are the same on every architecture
(https://www.kernel.org/doc/html/latest/process/adding-syscalls.html).
"""

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import Any, Final

# The numbers are the same for unshare(2) and setns(2); Python names them from 3.12 on.
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 0x2

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_MOUNT_ATTR_RDONLY: Final = 0x1
_MOUNT_ATTR_NOSUID: Final = 0x2
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_SYS_MOUNT_SETATTR: Final = 442
# pivot_root(2) is an old call without a wrapper in glibc: asm/unistd.h of each architecture.
_SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_CAPABILITY_VERSION_3: Final = 0x20080522
_LAST_CAPABILITY_NUMBER: Final = 63

_libc: Final = ctypes.CDLL(None, use_errno=True)


def is_linux() -> bool:
    """Returns whether this system has any of these calls."""
    return sys.platform == "linux"


def unshare(flags: int) -> None:
    """Moves this process into new namespaces.

    Raises:
        OSError: Refused.
    """
    _check(_libc.unshare(flags), "unshare")


def join_namespace(descriptor: int, flag: int) -> None:
    """Moves this process, or for CLONE_NEWPID what it forks, into a namespace.

    Raises:
        OSError: Refused.
    """
    _check(_libc.setns(descriptor, flag), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mounts a file system, or with MS_BIND a directory or file once more.

    Raises:
        OSError: Refused; it names the target.
    """
    encoded_kind = kind.encode() if kind else None
    data = options.encode() if options else None
    numbers = ctypes.c_ulong(flags)
    done = _libc.mount(os.fsencode(source), os.fsencode(target), encoded_kind, numbers, data)
    _check(done, "mount", target)


def detach(target: str) -> None:
    """Unmounts what is there, with everything below it.

    Raises:
        OSError: Refused.
    """
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), "umount", target)


def pivot_root_here() -> None:
    """Makes the working directory, a mount point, the root; the old root lies on top of it.

    Raises:
        OSError: Refused, or an architecture whose number is not known here.
    """
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(f"no number of pivot_root known for {os.uname().machine}")
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")


def close_tree(target: Path) -> None:
    """Makes a mount and all mounts below it read-only and free of setuid programs (Linux 5.12).

    Raises:
        OSError: Refused, or an older kernel.
    """
    _set_attributes(target, _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, _AT_RECURSIVE)


def open_mount(target: Path) -> None:
    """Makes a mount writable again, and none of those below it.

    Raises:
        OSError: Refused.
    """
    _set_attributes(target, 0, _MOUNT_ATTR_RDONLY, 0)


def _set_attributes(target: Path, add: int, remove: int, flags: int) -> None:
    structure = struct.pack("=QQQQ", add, remove, 0, 0)
    call, directory = ctypes.c_long(_SYS_MOUNT_SETATTR), ctypes.c_int(_AT_FDCWD)
    size = ctypes.c_size_t(len(structure))
    path = os.fsencode(target)
    done = _libc.syscall(call, directory, path, ctypes.c_uint(flags), structure, size)
    _check(done, "mount_setattr", str(target))


def set_host_name(name: str) -> None:
    """Names the machine, in this process's own namespace.

    Raises:
        OSError: Refused.
    """
    encoded = name.encode()
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), "sethostname")


def control(option: int, *arguments: int) -> None:
    """Calls prctl(2).

    Raises:
        OSError: Refused.
    """
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *padded), "prctl")


def drop_bounding_set() -> None:
    """Gives up every capability for good, also for what this process executes later.

    Raises:
        OSError: Refused.
    """
    for number in range(_LAST_CAPABILITY_NUMBER + 1):
        try:
            control(PR_CAPBSET_DROP, number)
        except OSError:
            if number == 0:
                raise
            return  # the kernel's last one was the one before


def drop_capabilities() -> None:
    """Gives up every capability that this process has or may have.

    Raises:
        OSError: Refused.
    """
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    nothing = bytes(24)  # effective, permitted and inheritable, twice 32 bits each
    _check(_libc.capset(header, nothing), "capset")


def filter_system_calls(program: bytes) -> None:
    """Has the kernel ask a program of linux/filter.h about each call of this process, for good.

    Raises:
        OSError: Refused.
    """
    size = struct.calcsize("=HBBI")
    kept = ctypes.create_string_buffer(program, len(program))
    # `struct sock_fprog`: the number of instructions, and where they are.
    described = struct.pack("@HP", len(program) // size, ctypes.addressof(kept))
    address = ctypes.create_string_buffer(described, len(described))
    mode_filter = 2
    control(PR_SET_SECCOMP, mode_filter, ctypes.addressof(address))


def _check(returned: Any, call: str, target: str | None = None) -> None:
    if returned == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", target)
