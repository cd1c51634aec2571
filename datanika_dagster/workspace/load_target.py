"""The workspace file as the supervisor has it now; none where it has not written one yet."""

from collections.abc import Sequence
from pathlib import Path

from dagster._core.remote_origin import CodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._core.workspace.load_target import WorkspaceLoadTarget


class SupervisedWorkspace(WorkspaceLoadTarget):
    """The code locations in the supervisor's file; none before it has written one.

    Args:
        path: The `workspace.yaml`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def create_origins(self) -> Sequence[CodeLocationOrigin]:
        """Returns the code locations in the file."""
        if not self.path.exists():
            return []
        return location_origins_from_yaml_paths([str(self.path)])
