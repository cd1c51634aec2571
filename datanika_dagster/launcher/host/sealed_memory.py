"""Memory without a name that is handed from process to process as a descriptor.

A run's token and the URL of Dagster's storage travel in it: it is in no file, no environment and no
argument list, and the host that hands it on does not read it. Knows nothing of what is in it.
"""

import contextlib
import fcntl
import mmap
import os
import secrets
import sys


def sealed(content: bytes) -> int:
    """Returns a descriptor of memory that holds `content`; on Linux nobody can change it any more.

    Args:
        content: Not empty and without NUL at its end, as JSON is.
    """
    descriptor = _anonymous_memory()
    try:
        os.ftruncate(descriptor, len(content))
        with mmap.mmap(descriptor, len(content)) as memory:
            memory[:] = content
        if sys.platform == "linux":
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(descriptor: int) -> bytes:
    """Returns what the memory holds; its position does not matter, so it can be read again."""
    with mmap.mmap(descriptor, os.fstat(descriptor).st_size, access=mmap.ACCESS_READ) as memory:
        # macOS rounds the size up to pages.
        return memory[:].rstrip(b"\0")


def _anonymous_memory() -> int:
    if sys.platform == "linux":
        return os.memfd_create("datanika", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    from _posixshmem import shm_open, shm_unlink  # noqa: PLC0415 - Linux has something better

    name = f"/dn{secrets.token_hex(8)}"
    descriptor = shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with contextlib.suppress(OSError):
        shm_unlink(name)
    return descriptor
