"""Lets the embedded PostgreSQL run as an operating-system user of its own when the stack is root.

PostgreSQL refuses to run as root. This module makes that user and gives it, and nobody else, the way
through directories such as a 0700 `/root`: a POSIX ACL entry with the execute bit only, written as the
kernel's extended attribute (https://man7.org/linux/man-pages/man5/acl.5.html), so that no package is
needed and the directory's mode for everybody else stays as it was. It must not know PostgreSQL.
"""

import os
import pwd
import stat
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanika_stack.errors import StackError

POSTGRES_OS_USER: Final = "datanika-postgres"
_ACL_ATTRIBUTE: Final = "system.posix_acl_access"
_ACL_VERSION: Final = 2
_NO_ID: Final = 0xFFFFFFFF
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_EXECUTE: Final = 1


@dataclass(frozen=True)
class OsUser:
    """An operating-system account that a child process runs as."""

    name: str
    uid: int
    gid: int


def is_root() -> bool:
    """Returns whether this process is root, so that PostgreSQL needs another user."""
    return os.geteuid() == 0


def ensure_os_user(name: str = POSTGRES_OS_USER) -> OsUser:
    """Returns the account, made as a system account without a login when it does not exist.

    Raises:
        StackError: The account is missing and cannot be made.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        if sys.platform == "darwin":
            raise StackError(
                "PostgreSQL cannot run as root: run the stack as yourself, without sudo"
            ) from None
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell"]
        try:
            subprocess.run(  # noqa: S603 - constant arguments
                [*command, "/usr/sbin/nologin", name], check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise StackError(
                f"PostgreSQL cannot run as root and the user {name!r} could not be made ({error}); "
                "run the stack as another user, or make that user first"
            ) from error
        entry = pwd.getpwnam(name)
    return OsUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def let_user_reach(path: Path, user: OsUser) -> None:
    """Gives the user the right to walk through the parents of a path, and nothing else.

    Raises:
        StackError: A parent stays closed (for example a file system without ACLs).
    """
    for parent in reversed(path.resolve().parents):
        if not _may_traverse(parent, user):
            _grant_traversal(parent, user)


def give_directory(path: Path, user: OsUser | None) -> None:
    """Makes a 0700 directory and, for root, gives it to the user that PostgreSQL runs as."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    if user is not None:
        os.chown(path, user.uid, user.gid)


def has_acl(directory: Path) -> bool:
    """Returns whether the directory has an access list beyond its mode."""
    return bool(_read_acl(directory))


def _may_traverse(directory: Path, user: OsUser) -> bool:
    status = directory.stat()
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    granted = {(tag, identity): bits for tag, bits, identity in _read_acl(directory)}
    own = granted.get((_USER, user.uid))
    if own is not None:
        return bool(own & granted.get((_MASK, _NO_ID), 7) & _EXECUTE)
    return bool(status.st_mode & stat.S_IXOTH)


def _grant_traversal(directory: Path, user: OsUser) -> None:
    entries = _read_acl(directory) or _acl_of_mode(directory.stat().st_mode)
    kept = [entry for entry in entries if (entry[0], entry[2]) != (_USER, user.uid)]
    mask = next((bits for tag, bits, _ in kept if tag == _MASK), None)
    if mask is None:
        mask = next(bits for tag, bits, _ in kept if tag == _GROUP_OBJ)
    kept = [entry for entry in kept if entry[0] != _MASK]
    kept += [(_USER, _EXECUTE, user.uid), (_MASK, mask | _EXECUTE, _NO_ID)]
    packed = struct.pack("<I", _ACL_VERSION)
    packed += b"".join(struct.pack("<HHI", *entry) for entry in sorted(kept, key=_acl_order))
    try:
        os.setxattr(directory, _ACL_ATTRIBUTE, packed)
    except (AttributeError, OSError) as error:
        raise StackError(
            f"PostgreSQL cannot run as root and its user {user.name!r} cannot pass {directory}; "
            f"choose another place with --home, or run: chmod o+x {directory}"
        ) from error


def _acl_order(entry: tuple[int, int, int]) -> tuple[int, int]:
    return entry[0], entry[2]


def _acl_of_mode(mode: int) -> list[tuple[int, int, int]]:
    return [
        (_USER_OBJ, mode >> 6 & 7, _NO_ID),
        (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
        (_OTHER, mode & 7, _NO_ID),
    ]


def _read_acl(directory: Path) -> list[tuple[int, int, int]]:
    """Returns `(tag, permission bits, id)` of the directory's ACL; empty where there is none."""
    try:
        packed = os.getxattr(directory, _ACL_ATTRIBUTE)
    except (AttributeError, OSError):  # macOS has no getxattr; ENODATA and ENOTSUP mean no ACL
        return []
    return [tuple(entry) for entry in struct.iter_unpack("<HHI", packed[4:])]  # pyright: ignore[reportReturnType]
