"""dagster-daemon, but prompt: new orgs, queued runs, ends and missed ticks are seen within seconds.

`python -m datanika_dagster.daemon run -w workspace.yaml`. The stock daemon re-reads the workspace once
a minute, with a call to every code server. This one does so when the file has changed, too; a changed
definition in a known location needs neither, since the daemon watches the servers' ids. The run queue
and the retries of runs look when they are told to (`run_signals.py`), and while the platform is sealed
nothing leaves the queue (`launcher/run_queue.py`).
"""

import sys
import time
from pathlib import Path
from typing import Any, Final

from dagster._daemon import controller
from dagster._daemon.cli import main
from dagster._daemon.controller import DagsterDaemonController
from dagster._scheduler import scheduler

from datanika_dagster.launcher.run_queue import SealedRunQueue
from datanika_dagster.launcher.run_retries import PromptRunRetries

_CHECK_SECONDS: Final = 1
_TICK_SECONDS: Final = 10
# As long as the stock daemon waits for a statement: it sets no limit.
_NO_LIMIT_MILLISECONDS: Final = 0
_RECYCLE_SECONDS: Final = 600
_MOST_CONNECTIONS: Final = 20


class PromptDaemonController(DagsterDaemonController):
    """Refreshes the workspace as soon as its file has been replaced."""

    _workspace_file: Path
    _seen: tuple[int, int]

    def __init__(self, workspace_process_context: Any, *arguments: Any, **options: Any) -> None:
        # Each look at the storage would open a connection otherwise, which takes longer than the look.
        workspace_process_context.instance.optimize_for_webserver(
            _NO_LIMIT_MILLISECONDS, _RECYCLE_SECONDS, _MOST_CONNECTIONS
        )
        super().__init__(workspace_process_context, *arguments, **options)

    @classmethod
    def watch(cls, workspace_file: Path) -> None:
        """Takes the file as it is now for known, before it is loaded.

        A change while the daemon still starts must not be taken for what it has loaded: it would
        know of an org, and tick its schedules, a minute late.

        Args:
            workspace_file: The code locations.
        """
        cls._workspace_file = workspace_file
        cls._seen = cls._version()

    def check_workspace_freshness(self, last_workspace_update_time: float) -> float:
        """Refreshes when the file is another one than before, else when the stock daemon would."""
        version = self._version()
        if version != self._seen:
            self._seen = version
            # Due at once, but far from the age at which a failing refresh ends the daemon.
            last_workspace_update_time = time.time() - controller.RELOAD_WORKSPACE_INTERVAL - 1
        return super().check_workspace_freshness(last_workspace_update_time)

    @classmethod
    def _version(cls) -> tuple[int, int]:
        status = cls._workspace_file.stat()
        return status.st_ino, status.st_mtime_ns


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
    arguments = sys.argv[1:]
    option = next(name for name in ("-w", "--workspace") if name in arguments)
    PromptDaemonController.watch(Path(arguments[arguments.index(option) + 1]))
    # All are looked up in the module when the daemon starts (dagster 1.13.27, pinned).
    controller.DagsterDaemonController = PromptDaemonController
    controller.THREAD_CHECK_INTERVAL = _CHECK_SECONDS
    controller.QueuedRunCoordinatorDaemon = SealedRunQueue  # pyright: ignore[reportPrivateImportUsage]
    controller.EventLogConsumerDaemon = PromptRunRetries  # pyright: ignore[reportPrivateImportUsage]
    scheduler._get_next_scheduler_iteration_time = next_look
    main()


if __name__ == "__main__":
    run()
