"""dagster-daemon, but prompt: new orgs, queued runs, ends and missed ticks are seen within seconds.

`python -m datanika_dagster.daemon run -w workspace.yaml`. The stock daemon asks every code server for
its id once a second and loads all of them again once a minute; this one has the workspace of
`workspace/context.py`, which knows by itself when there is something new. The run queue and the retries
of runs look when they are told to (`run_signals.py`), and while the platform is sealed nothing leaves
the queue (`launcher/run_queue.py`). It tells the control plane of each change of a run (`run_changes.py`).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from dagster._daemon import controller
from dagster._daemon.cli import main
from dagster._daemon.controller import DagsterDaemonController
from dagster._scheduler import scheduler

from datanika_dagster import settings
from datanika_dagster.control_plane_client import of_process
from datanika_dagster.interrupted_ticks import InterruptedTicks
from datanika_dagster.launcher.run_queue import SealedRunQueue
from datanika_dagster.launcher.run_retries import PromptRunRetries
from datanika_dagster.pooled_storage import keep_connections
from datanika_dagster.run_changes import RunChanges
from datanika_dagster.run_retention import RunRetention
from datanika_dagster.storage import StampingRunStorage
from datanika_dagster.workspace.context import OrgWorkspace

_TICK_SECONDS: Final = 10


class PromptDaemonController(DagsterDaemonController):
    """Leaves the workspace alone, and keeps its connections to the storage."""

    def __init__(
        self, workspace_process_context: Any, daemons: Sequence[Any], **options: Any
    ) -> None:
        instance = workspace_process_context.instance
        keep_connections(instance)
        self._changes = ExitStack()
        if isinstance(instance.run_storage, StampingRunStorage):
            client = self._changes.enter_context(of_process(settings.read()))
            url = instance.run_storage.postgres_url
            self._changes.enter_context(RunChanges(url, client.tell_run_change))
        super().__init__(
            workspace_process_context, [*daemons, InterruptedTicks(), RunRetention()], **options
        )

    def __exit__(self, *exception: Any) -> None:
        """Stops the daemons, and telling the control plane of runs."""
        super().__exit__(*exception)
        self._changes.close()

    def check_workspace_freshness(self, last_workspace_update_time: float) -> float:
        """Does nothing: the workspace itself watches the files that it is made from."""
        return last_workspace_update_time


def next_look(now: float) -> float:
    """Returns when the scheduler looks again: at the next full minute, but before ten seconds are over.

    Args:
        now: Seconds since 1970.
    """
    return min(
        now + _TICK_SECONDS, now - now % scheduler.SECONDS_IN_MINUTE + scheduler.SECONDS_IN_MINUTE
    )


def run() -> None:
    """Runs the stock command line with this controller."""
    # All are looked up in the module when the daemon starts (dagster 1.13.27, pinned).
    controller.DagsterDaemonController = PromptDaemonController
    controller.WorkspaceProcessContext = OrgWorkspace  # pyright: ignore[reportPrivateImportUsage]
    controller.QueuedRunCoordinatorDaemon = SealedRunQueue  # pyright: ignore[reportPrivateImportUsage]
    controller.EventLogConsumerDaemon = PromptRunRetries  # pyright: ignore[reportPrivateImportUsage]
    scheduler._get_next_scheduler_iteration_time = next_look
    main()


if __name__ == "__main__":
    run()
