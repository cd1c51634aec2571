"""Background work of the control plane: `python -m control_plane.worker`.

Provisions warehouses and closes those of deleted orgs, follows the runs, launches what their success
or stale data call for, and removes what has expired. Several may run at once: rows
are locked with `SKIP LOCKED`, and every step can be repeated.
"""

import logging
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.housekeeping.service import Housekeeping
from control_plane.core.database import make_engine, make_session_factory
from control_plane.core.errors import DatanikaError, Sealed
from control_plane.core.signals import Listener
from control_plane.keys.keyring import make_vault
from control_plane.keys.maintenance import KeyMaintenance
from control_plane.reactions.launching import ReactionLauncher
from control_plane.reactions.staleness import StalenessWatch
from control_plane.runs.dagster import DagsterClient
from control_plane.runs.reconciliation import CHANGES, RunReconciler
from control_plane.runs.schedule_switching import ScheduleSwitching
from control_plane.settings import Settings, get_settings
from control_plane.warehouses.closing import Closing
from control_plane.warehouses.provisioner import Provisioner
from control_plane.warehouses.service import provision_warehouses

logger = logging.getLogger("control_plane.worker")
POLL_SECONDS = 0.5
MAXIMUM_BACKOFF_SECONDS = 15.0
SEALED_SECONDS = 1.0


class Worker:
    """Repeats its jobs until it is told to stop; one that fails is tried again, ever more slowly.

    While the platform is sealed, what needs a secret waits: that is no failure.

    Args:
        jobs: By name; each does one pass.
        wakes: By name of a job: set, it ends the job's pause.
        listeners: They set those; they listen while `run` runs.
    """

    def __init__(
        self,
        jobs: dict[str, Callable[[], object]],
        wakes: Mapping[str, threading.Event] | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._jobs = jobs
        self._stop = threading.Event()
        self._wakes = wakes or {}
        self._listeners = listeners

    def stop(self) -> None:
        """Ends `run` after the passes that are under way."""
        self._stop.set()
        for wake in self._wakes.values():
            wake.set()

    def run(self) -> None:
        """Runs each job in a thread of its own, so that a slow one does not delay the others."""
        threads = [
            threading.Thread(target=self._repeat, args=(name, job), name=name)
            for name, job in self._jobs.items()
        ]
        for listener in self._listeners:
            listener.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for listener in self._listeners:
            listener.close()

    def _repeat(self, name: str, job: Callable[[], object]) -> None:
        backoff_seconds = POLL_SECONDS
        is_sealed = False
        while not self._stop.is_set():
            try:
                job()
                if is_sealed:
                    logger.info("%s: the platform is unsealed; going on", name)
                backoff_seconds, is_sealed = POLL_SECONDS, False
            except Sealed as error:
                if not is_sealed:
                    logger.info("%s: waiting: %s", name, error.detail)
                backoff_seconds, is_sealed = SEALED_SECONDS, True
            except DatanikaError as error:
                logger.warning("%s: %s", name, error.detail)
                backoff_seconds = min(backoff_seconds * 2, MAXIMUM_BACKOFF_SECONDS)
            except Exception:
                # A job's bug or a database that is away must not end the others.
                logger.exception("%s failed", name)
                backoff_seconds = min(backoff_seconds * 2, MAXIMUM_BACKOFF_SECONDS)
            self._pause(name, backoff_seconds)

    def _pause(self, name: str, seconds: float) -> None:
        wake = self._wakes.get(name)
        if wake is None:
            self._stop.wait(seconds)
        elif wake.wait(seconds):
            # Before the pass: what is told during it is looked at in another one.
            wake.clear()


def make_worker(settings: Settings) -> Worker:
    """Makes the worker of a deployment."""
    factory = make_session_factory(
        make_engine(settings.database_url.get_secret_value(), pool_size=2)
    )
    vault = make_vault(settings)
    provisioner = Provisioner(settings.provisioner_socket)
    token = settings.service_token.get_secret_value() if settings.service_token else ""
    dagster = DagsterClient(settings.dagster_url, token)
    reactions = ReactionLauncher(factory, dagster)
    reconciler = RunReconciler(factory, dagster, reactions.note_success)
    jobs: dict[str, Callable[[], object]] = {
        "warehouses": lambda: provision_warehouses(factory, vault, provisioner),
        "deleted orgs": Closing(factory, provisioner).run_if_due,
        "runs": reconciler.run_once,
        "reactions": reactions.run_if_due,
        "freshness": StalenessWatch(factory, dagster, reactions.note).run_if_due,
        "schedules": ScheduleSwitching(factory, dagster).run_if_due,
        "housekeeping": Housekeeping(factory).run_if_due,
        "keys": KeyMaintenance(factory, vault).run_once,
    }
    if settings.worker_heartbeat is not None:
        jobs["heartbeat"] = partial(_beat, factory, settings.worker_heartbeat)
    run_changed = threading.Event()
    listener = Listener(
        settings.database_url.get_secret_value(),
        CHANGES,
        lambda _: run_changed.set(),
        run_changed.set,
    )
    return Worker(jobs, {"runs": run_changed}, [listener])


def _beat(factory: sessionmaker[Session], path: Path) -> None:
    """Touches the file that health checks look at, where the database answers."""
    with factory() as session:
        session.execute(text("SELECT 1"))
    path.touch()


def main() -> None:
    """Runs the worker until SIGTERM or SIGINT."""
    # Only our own packages at INFO: httpx would log each request, twice a second.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("control_plane").setLevel(logging.INFO)
    worker = make_worker(get_settings())

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    worker.run()


if __name__ == "__main__":
    main()
