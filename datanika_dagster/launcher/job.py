"""What a job entry is given, and how it fails.

An entry is a function `run(job, payload, secrets)` in a module that the launcher imports by name.
This module must not know how the job was started: entries and tests depend on it alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

LogLevel = Literal["debug", "info", "warning", "error"]
Secrets = Mapping[str, Mapping[str, Any]]
"""Connection slug → `{"connector": …, "config": {…}}`, only of the connections the job uses."""


class Job(Protocol):
    """The job's side of the channel to the run."""

    @property
    def work_dir(self) -> Path:
        """A fresh private directory that is removed when the job has ended."""
        ...

    def log(self, level: LogLevel, message: str) -> None:
        """Writes one line to the run's log."""
        ...

    def materialized(
        self, asset_key: list[str], metadata: Mapping[str, Any], data_version: str | None = None
    ) -> None:
        """Reports that an asset has been made, at most once per asset."""
        ...


class JobError(Exception):
    """A failure that a person can act on; its text never holds a secret.

    Attributes:
        code: Stable and dotted, for example `connection.refused`.
        message: What happened and what to do.
        field: The setting, column or object that it is about.
        is_retryable: True where the same job may succeed later without anybody's doing
            (the job child then exits with 75, EX_TEMPFAIL of sysexits.h).
    """

    def __init__(
        self, code: str, message: str, *, field: str | None = None, is_retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.is_retryable = is_retryable
