"""The task token of this process, where the process is a run.

The launcher hands it over in a pipe: a descriptor's content is in no environment, no argument
list and no file. It is read once and kept in memory; reading manifests does not use it up.
"""

import os
import threading
from dataclasses import dataclass, field

from datanika_dagster.settings import Settings

TOKEN_BYTES = 4096


@dataclass
class _Holder:
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_read: bool = False
    token: str | None = None


_HOLDER = _Holder()


def token_of_process(settings: Settings) -> str | None:
    """Returns the run's task token, None for a process that was given none.

    Args:
        settings: Names the descriptor.
    """
    if settings.task_token_fd is None:
        return None
    with _HOLDER.lock:
        if not _HOLDER.is_read:
            _HOLDER.token = os.read(settings.task_token_fd, TOKEN_BYTES).decode() or None
            os.close(settings.task_token_fd)
            _HOLDER.is_read = True
        return _HOLDER.token


def pipe_with(token: str) -> int:
    """Returns the reading end of a pipe that holds `token`; the caller closes it.

    Args:
        token: At most `TOKEN_BYTES` long, so that writing never blocks.
    """
    reading, writing = os.pipe()
    try:
        os.write(writing, token.encode())
    finally:
        os.close(writing)
    return reading
