"""Private directories of runs, jobs and tasks, and the ones that nobody removed.

Each says which process it belongs to: what a killed process left behind is swept away, what a
living one uses is not, whatever became of the process that made it.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from tempfile import mkdtemp

from datanika_dagster.launcher import worker

OWNER = ".owner"
RM = "/bin/rm"
UNFINISHED = ".new_"
PATTERNS = ("run_*", "job_*", "task_*", f"{UNFINISHED}*")
UNOWNED_SECONDS = 600.0
"""What has lost its owner's note may be in use, one without a name yet just being made."""

ELSEWHERE_SECONDS = 7 * 24 * 3600.0
"""An owner in another container, or before a restart of the machine, cannot be asked.

A worker host touches its living children's directories every hour, far more often than that.
"""

_NOTE_BYTES = 4096


def create(parent: Path, prefix: str) -> Path:
    """Makes a fresh directory that only this user can read, and that belongs to this process.

    It has its owner's note before it has its name: what has a name and no note lost it.

    Raises:
        OSError: The disk is full, for example; nothing is left then.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = Path(mkdtemp(prefix=f"{UNFINISHED}{prefix}_", dir=parent))
    try:
        own(unfinished, os.getpid())
        return unfinished.rename(parent / unfinished.name.removeprefix(UNFINISHED))
    except OSError:
        # An empty directory may still be made on a full disk, and nobody would know whose it is.
        remove(unfinished)
        raise


def own(directory: Path, pid: int) -> None:
    """Notes that a directory belongs to a process; does nothing where that has ended."""
    owner = worker.of_pid(pid)
    if owner is not None and directory.is_dir():
        (directory / OWNER).write_text(owner.as_tag())


def sweep(parent: Path) -> None:
    """Removes the directories in `parent` whose owner is gone."""
    for pattern in PATTERNS:
        for directory in parent.glob(pattern):
            if _is_left_over(directory):
                remove(directory)
            elif not directory.name.startswith(UNFINISHED):
                _remove_if_bare(directory)


def touch(path: Path) -> None:
    """Makes a file or directory look used just now, where it is there; follows no link."""
    with contextlib.suppress(OSError):
        os.utime(path, follow_symlinks=False)


def remove(directory: Path) -> None:
    """Removes a directory with all that is in it, however deeply it is nested; what cannot be, stays.

    Whose it is goes last: who is killed over it leaves what the next sweep knows.
    """
    with contextlib.suppress(OSError):
        for entry in directory.iterdir():
            if entry.name == OWNER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                _remove(entry)
            else:
                entry.unlink()
    _remove(directory)


def _remove_if_bare(directory: Path) -> None:
    """Removes what has neither an owner nor anything in it: who removed it was killed over it."""
    with contextlib.suppress(OSError):
        directory.rmdir()


def _remove(directory: Path) -> None:
    try:
        shutil.rmtree(directory, ignore_errors=True)
    except RecursionError:
        subprocess.run([RM, "-rf", "--", str(directory)], check=False)  # noqa: S603 - a path of ours


def _is_left_over(directory: Path) -> bool:
    try:
        age_seconds = time.time() - directory.lstat().st_mtime
    except FileNotFoundError:
        return False  # its owner has just removed it
    owner = worker.from_tag(_note_in(directory))
    if owner is None:
        return age_seconds > UNOWNED_SECONDS
    if not worker.is_here(owner):
        return age_seconds > ELSEWHERE_SECONDS
    return not worker.is_alive(owner)


def _note_in(directory: Path) -> str | None:
    """Returns what `own` wrote; None where there is nothing, or what a tenant put there instead."""
    try:
        note = os.open(directory / OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(note)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        return os.read(note, _NOTE_BYTES).decode(errors="replace") if is_ours else None
    finally:
        os.close(note)
