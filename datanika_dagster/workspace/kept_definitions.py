"""What a code server has said about a manifest's definitions, kept in a file: the manifest never changes.

So an org whose server sleeps is shown, ticks and has its runs started all the same, also after webserver
and daemon were restarted. A file is of one manifest and one version of the software; it is as
trustworthy as the directory, which is this user's alone (docs/decisions/0115-definitions-are-kept.md).
"""

import contextlib
import gzip
import hashlib
import json
import logging
import os
from functools import cache
from pathlib import Path

import dagster

import datanika_dagster
import datanika_manifest

logger = logging.getLogger(__name__)

Answers = dict[str, str]


class KeptDefinitions:
    """The files of one installation.

    Args:
        directory: Made 0700.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, name: str, sha256: str) -> Answers | None:
        """Returns what is kept of a manifest; None where there is nothing that can be read.

        Args:
            name: The code location.
            sha256: The manifest's.
        """
        try:
            text = gzip.decompress(self._path(name, sha256).read_bytes()).decode()
            answers = json.loads(text)
        except (OSError, EOFError, ValueError):
            return None
        return answers if isinstance(answers, dict) else None

    def keep(self, name: str, sha256: str, answers: Answers) -> None:
        """Keeps a manifest's answers and forgets those of others of the location."""
        path = self._path(name, sha256)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, gzip.compress(json.dumps(answers).encode(), compresslevel=6))
        except OSError as error:
            logger.warning("The definitions of %s cannot be kept: %s", name, error)
            return
        self._remove_others(path)

    def forget(self, name: str) -> None:
        """Removes what is kept of a code location that is no more."""
        directory = self._directory / name
        with contextlib.suppress(OSError):
            for file in directory.iterdir():
                file.unlink(missing_ok=True)
            directory.rmdir()

    def _remove_others(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            for file in path.parent.iterdir():
                if file != path and not file.name.startswith("."):
                    file.unlink(missing_ok=True)

    def _path(self, name: str, sha256: str) -> Path:
        return self._directory / name / f"{sha256}.{software_version()}.json.gz"


@cache
def software_version() -> str:
    """Returns something that differs when the code that makes definitions does."""
    digest = hashlib.sha256(dagster.__version__.encode())
    for package in (datanika_dagster, datanika_manifest):
        for file in sorted(Path(package.__path__[0]).rglob("*.py")):
            status = file.stat()
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
