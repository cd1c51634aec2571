"""A child's own tidying up: it empties its directory as the user who filled it."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from datanika_dagster.launcher import work_directories


def tidily(body: Callable[[], int], directory: Path) -> Callable[[], int]:
    """Returns a body that empties its directory at its end."""

    def run() -> int:
        try:
            return body()
        finally:
            with contextlib.suppress(OSError):
                empty(directory)

    return run


def empty(directory: Path) -> None:
    """Removes what is in a directory; what cannot be removed stays."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            work_directories.remove(entry)
        elif entry.name != work_directories.OWNER:
            with contextlib.suppress(OSError):
                entry.unlink()
