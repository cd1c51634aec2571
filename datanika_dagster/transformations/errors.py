"""The errors that transformation jobs report to a person.

Each has a stable code of its own. Texts must never hold a secret or a path of this machine.
"""

from typing import Final

from datanika_dagster.launcher.job import JobError


class TransformationError(JobError):
    """A model or a test that cannot work as it was written; `field` is the model's name."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__("transformation.invalid", message, field=field)


class ProjectMissingError(JobError):
    """A run names a dbt project that is not on this machine."""

    def __init__(self, message: str) -> None:
        super().__init__("transformation.project_missing", message)


class BuildFailedError(JobError):
    """Models or tests of a build failed; the message names each."""

    def __init__(
        self, message: str, *, field: str | None = None, is_retryable: bool = False
    ) -> None:
        super().__init__(
            "transformation.build_failed", message, field=field, is_retryable=is_retryable
        )


# What libpq and PostgreSQL say when the server has gone, or is not there yet
# (src/interfaces/libpq/fe-exec.c, fe-connect.c; src/backend/tcop/postgres.c, postmaster.c).
_LOST: Final = (
    "server closed the connection",
    "terminating connection due to",
    "the database system is ",
    "connection already closed",
    "Connection refused",
    "Connection reset by peer",
)


def is_lost_connection(message: str) -> bool:
    """Tells whether dbt's text says that the warehouse was gone: it keeps no SQLSTATE."""
    return any(text in message for text in _LOST)


class PreviewError(JobError):
    """The warehouse refused a previewed statement."""

    def __init__(self, message: str) -> None:
        super().__init__("preview.failed", message)
