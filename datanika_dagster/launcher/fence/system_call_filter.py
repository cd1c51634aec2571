"""System calls that no child of the host needs: the kernel refuses them, also to what it starts.

They open parts of the kernel that attacks begin with (namespaces of its own, other processes' memory,
io_uring, bpf, keys), let a process outlive its parent, or hold memory that nobody counts. The filter is a
program for each process (seccomp(2)); on a processor whose numbers are not known here there is none.
"""

import errno
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import datanika_dagster.launcher.fence.system_calls as linux

# asm/unistd.h of each architecture; None: it has no such call. From 424 on they have the same.
_NUMBERS: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mmap": (9, 222),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "msgget": (68, 186),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "shmget": (29, 194),
    "socket": (41, 198),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The column above, and AUDIT_ARCH_… of linux/audit.h."""

_BY_ARGUMENTS: Final = ("clone", "mmap", "prctl", "socket")
# Where programs go on another way when a kernel has not got the call. What clone3 is to do stands in
# memory, where no filter can look.
_NOT_THERE: Final = ("clone3", "memfd_create")

_NEW_NAMESPACES: Final = 0x7E020080
"""CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET and, where it can be asked for, TIME."""
_SHARED_ANONYMOUS: Final = 0x21
_FAMILIES: Final = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK, by which the C library lists addresses."""

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_X32: Final = 0x40000000
_SIGKILL: Final = 9

_Step = tuple[int, int, int, int]


def install() -> bool:
    """Filters this process for good, and returns whether there is a filter for this machine.

    Raises:
        OSError: The kernel refuses.
    """
    architecture = _ARCHITECTURES.get(os.uname().machine) if linux.is_linux() else None
    if architecture is None:
        return False
    linux.filter_system_calls(_program(*architecture))
    return True


def names() -> Sequence[str]:
    """Returns the calls that are refused whatever they are to do."""
    return [name for name in _NUMBERS if name not in _BY_ARGUMENTS]


def number_of(name: str) -> int | None:
    """Returns a call's number on this machine; None where it has not got it."""
    return _NUMBERS[name][_ARCHITECTURES[os.uname().machine][0]]


def _program(column: int, audit_number: int) -> bytes:
    steps = [_load(4), (_EQUAL, 1, 0, audit_number), _refuse(errno.EPERM), _load(0)]
    if column == 0:  # the same calls under other numbers, with pointers of 32 bits
        steps += [(_AT_LEAST, 0, 1, _X32), _refuse(errno.EPERM)]
    for name, numbers in _NUMBERS.items():
        number = numbers[column]
        if number is not None:
            answer = list(_answer(name))
            steps += [(_EQUAL, 0, len(answer), number), *answer]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _answer(name: str) -> Iterator[_Step]:
    """Yields what is done about a call; it ends with a return on every way."""
    if name == "clone":
        yield from (_argument(0), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), _refuse(errno.EPERM))
    elif name == "mmap":
        # Such memory is counted nowhere once it is not mapped any more.
        yield from (_argument(3), (_AND, 0, 0, _SHARED_ANONYMOUS))
        yield from ((_EQUAL, 0, 1, _SHARED_ANONYMOUS), _refuse(errno.EPERM))
    elif name == "prctl":
        # Whoever started a process must be able to rely on that it ends with it, and stays hidden.
        yield _argument(0)
        for option, value in ((linux.PR_SET_PDEATHSIG, _SIGKILL), (linux.PR_SET_DUMPABLE, 0)):
            yield from ((_EQUAL, 0, 4, option), _argument(1), (_EQUAL, 1, 0, value))
            yield from (_refuse(errno.EPERM), (_RETURN, 0, 0, _ALLOW))
    elif name == "socket":
        yield _argument(0)
        for family in _FAMILIES:
            yield from ((_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW))
        yield _refuse(errno.EAFNOSUPPORT)
        return
    else:
        yield _refuse(errno.ENOSYS if name in _NOT_THERE else errno.EPERM)
        return
    yield (_RETURN, 0, 0, _ALLOW)


def _refuse(number: int) -> _Step:
    return (_RETURN, 0, 0, _ERRNO | number)


def _load(offset: int) -> _Step:
    return (_LOAD, 0, 0, offset)


def _argument(index: int) -> _Step:
    """Loads the lower half of an argument: `struct seccomp_data`, little-endian."""
    return _load(16 + 8 * index)
