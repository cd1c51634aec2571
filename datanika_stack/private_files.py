"""Files and directories that only their owner may read, written in one step."""

import contextlib
import os
import stat
from pathlib import Path

from datanika_stack.errors import StackError
from datanika_stack.os_access import has_acl


def write_private(path: Path, text: str) -> None:
    """Replaces a file atomically with one of mode 0600.

    Raises:
        OSError: It cannot be written; the file is as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def make_private_directory(path: Path) -> None:
    """Makes a 0700 directory of this user's own.

    Raises:
        StackError: Somebody else owns the path, or it is a link: in a shared directory such as
            `/tmp` another user could have planted it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StackError(f"{path} must be a directory of this user's own; remove it and try again")
    # With an ACL the group's bits are the mask of all its entries: clearing the execute bit would
    # take from PostgreSQL's own user the way to its data.
    kept = 0o710 if has_acl(path) else 0o700
    if status.st_mode & 0o777 & ~kept:
        path.chmod(status.st_mode & kept | 0o700)


def ensure_private(path: Path) -> None:
    """Checks that a file can be read by its owner alone.

    Raises:
        StackError: Group or others may read it, or it belongs to somebody else.
    """
    status = path.stat()
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise StackError(
            f"{path} holds secrets and must belong to you with mode 0600; run: chmod 600 {path}"
        )
