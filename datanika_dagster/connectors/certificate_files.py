"""Certificates and keys as paths, which is all that libpq takes.

On Linux they are files in memory of this process, so that no key is ever on a disk; elsewhere
files that only this user can read, in the job's private directory, which is removed when the job
ends. libpq wants of a key file that its owner alone can read it.
"""

import os
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_MEMORY_FILES = Path("/proc/self/fd")


@dataclass(frozen=True)
class Certificates:
    """The TLS settings of a connection that are texts in PEM.

    Attributes:
        root: Who may have signed the server's certificate.
        client: What the client shows.
        client_key: The private key of that; never shown by `repr`.
    """

    root: str | None = None
    client: str | None = None
    client_key: str | None = field(default=None, repr=False)

    def root_file(self) -> str | None:
        """Returns where libpq finds `root`, None without it."""
        return None if self.root is None else private_file(self.root)

    def client_parameters(self) -> dict[str, str]:
        """Returns libpq's `sslcert` and `sslkey`; nothing where there is no client certificate."""
        if self.client is None or self.client_key is None:
            return {}
        return {"sslcert": private_file(self.client), "sslkey": private_file(self.client_key)}


@cache
def private_file(text: str) -> str:
    """Returns the path of a file with this text, readable by this process alone.

    It stays as long as the process: dlt and dbt open connections whenever they want to.
    """
    if not hasattr(os, "memfd_create") or not _MEMORY_FILES.exists():
        return _on_disk(text)
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    _write(descriptor, text)
    return str(_MEMORY_FILES / str(descriptor))


def _on_disk(text: str) -> str:
    # mkstemp makes it 0600, in TMPDIR: the private directory of the job.
    descriptor, path = tempfile.mkstemp(suffix=".pem")
    try:
        _write(descriptor, text)
    finally:
        os.close(descriptor)
    return path


def _write(descriptor: int, text: str) -> None:
    os.fchmod(descriptor, 0o600)
    remaining = memoryview(text.encode())
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]
