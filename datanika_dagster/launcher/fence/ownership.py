"""Gives directories to a child's user. What lies there may have been made by a tenant."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = "tmp"
_GROUP_MAY_PASS = stat.S_IRGRP | stat.S_IXGRP


def give(directory: Path, user: tuple[int, int]) -> None:
    """Gives an org's directory to a user, open to the org's group; links are never followed.

    What is in it goes with it the first time, while it is still ours and no tenant can have
    changed it; later only that user makes anything there.

    Raises:
        OSError: It is missing or a link.
    """
    with _opened(directory) as descriptor:
        if os.fstat(descriptor).st_uid == os.geteuid() != user[0]:
            _give_contents(descriptor, user)
        _hand_over(descriptor, user, 0o750)


def share(directory: Path, group: int) -> None:
    """Lets a group read a directory of ours, with all that is in it; does nothing to another's.

    Raises:
        OSError: It is missing or a link.
    """
    with _opened(directory) as descriptor:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return  # made by a child of the org, for the org
        for _, _, files, inside in os.fwalk(".", dir_fd=descriptor):
            _let_read(inside, group, _GROUP_MAY_PASS)
            for name in files:
                if stat.S_ISREG(os.stat(name, dir_fd=inside, follow_symlinks=False).st_mode):
                    with _opened_file(name, inside) as file:
                        _let_read(file, group, stat.S_IRGRP)


def give_fresh(directory: Path, user: tuple[int, int]) -> None:
    """Makes a working directory its user's own, 0700, with a `tmp` in it.

    Raises:
        OSError: It is missing or a link, or so is its `tmp`.
    """
    with _opened(directory) as descriptor:
        with contextlib.suppress(FileExistsError):
            os.mkdir(TEMPORARY, 0o700, dir_fd=descriptor)
        with _opened(Path(TEMPORARY), descriptor) as temporary:
            _hand_over(temporary, user, 0o700)
        _hand_over(descriptor, user, 0o700)


def _give_contents(descriptor: int, user: tuple[int, int]) -> None:
    for _, directories, files, inside in os.fwalk(".", dir_fd=descriptor):
        for name in (*directories, *files):
            os.chown(name, *user, dir_fd=inside, follow_symlinks=False)


def _let_read(descriptor: int, group: int, bits: int) -> None:
    status = os.fstat(descriptor)
    if status.st_gid != group:
        os.fchown(descriptor, -1, group)
    if status.st_mode & bits != bits:
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | bits)


@contextlib.contextmanager
def _opened_file(name: str, inside: int) -> Iterator[int]:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened(directory: Path, inside: int | None = None) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory, flags, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hand_over(descriptor: int, user: tuple[int, int], mode: int) -> None:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != user:
        os.fchown(descriptor, *user)
    if stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(descriptor, mode)
