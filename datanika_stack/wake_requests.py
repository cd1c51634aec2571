"""How webserver and daemon say that they need an org's code server: a file named by the org's number.

Whoever may write into the directory may ask, and its mode says who that is: this user alone. Nothing is
read from the files, so nobody can ask for anything but a process that would run anyway.
"""

import contextlib
from pathlib import Path

from datanika_stack.private_files import make_private_directory


class WakeRequests:
    """The directory of the requests, as the supervisor sees it.

    Args:
        directory: Made 0700.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def directory(self) -> Path:
        """Where requests are put."""
        return self._directory

    def prepare(self) -> None:
        """Makes the directory.

        Raises:
            StackError: Somebody else owns the path.
        """
        make_private_directory(self._directory)

    def take(self) -> set[int]:
        """Returns the orgs whose server somebody needs, and forgets the requests."""
        found: set[int] = set()
        with contextlib.suppress(OSError):
            for request in self._directory.iterdir():
                request.unlink(missing_ok=True)
                if request.name.isascii() and request.name.isdecimal():
                    found.add(int(request.name))
        return found
