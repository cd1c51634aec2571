"""The workspace as the supervisor has it now.

Dagster's webserver reads `workspace.yaml` once. Orgs come and go while it runs, so the file is
watched; a code server that was restarted is noticed by Dagster itself within a second or two.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from dagster._core.remote_origin import CodeLocationOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._core.workspace.load_target import WorkspaceLoadTarget

POLL_SECONDS = 0.5

logger = logging.getLogger(__name__)


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

    def version(self) -> tuple[int, int, int] | None:
        """Returns something that differs after each write of the file."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


class WorkspaceWatcher:
    """Refreshes a webserver's workspace when the supervisor's file has changed.

    Args:
        context: The webserver's workspace.
        workspace: The file behind it.
        version: The file's version that the context was loaded from.
    """

    def __init__(
        self,
        context: WorkspaceProcessContext,
        workspace: SupervisedWorkspace,
        version: tuple[int, int, int] | None,
    ) -> None:
        self._context = context
        self._workspace = workspace
        self._loaded = version
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="workspace-watch", daemon=True)

    def start(self) -> None:
        """Starts watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stops watching; returns when nothing is being refreshed any more."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            version = self._workspace.version()
            if version == self._loaded:
                continue
            try:
                # Not reload_workspace(): that reloads one code server after the other.
                self._context.refresh_workspace()
            except Exception:  # a file half written by hand: the next version will do
                logger.exception("The workspace %s cannot be loaded", self._workspace.path)
            self._loaded = version
