"""Tells a disk without space from other failures, however deep a library has wrapped it."""

import errno
from typing import Final

MESSAGE: Final = (
    "The disk is full: there is no space left for the job's working directory. Nothing of what it"
    " was writing counts; it can be run again when there is space."
)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_cause_of(error: BaseException) -> bool:
    """Tells whether an error, or one that it comes from, is that a disk or a quota is full."""
    seen: set[int] = set()
    below: BaseException | None = error
    while below is not None and id(below) not in seen:
        if isinstance(below, OSError) and below.errno in _FULL:
            return True
        seen.add(id(below))
        below = below.__cause__ or below.__context__
    return False
