"""The errors that transformation jobs report to a person.

Each has a stable code of its own. Texts must never hold a secret or a path of this machine.
"""

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

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__("transformation.build_failed", message, field=field)


class PreviewError(JobError):
    """The warehouse refused a previewed statement."""

    def __init__(self, message: str) -> None:
        super().__init__("preview.failed", message)
