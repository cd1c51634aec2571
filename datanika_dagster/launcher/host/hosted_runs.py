"""The runs of a host: launched, ended, remembered, and reported when they could not do it themselves."""

import logging
import os
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datanika_dagster.launcher import worker
from datanika_dagster.launcher.host.child import Start
from datanika_dagster.launcher.host.children import Child, Ending
from datanika_dagster.launcher.host.ground import Ground, RunStart
from datanika_dagster.launcher.host.protocol import Code, Launch, Refusal, Terminate
from datanika_dagster.launcher.host.tidiness import tidily

_LOGGER = logging.getLogger(__name__)
REMEMBERED = 1000
REPORT_SECONDS = 90.0
KILL_GRACE_SECONDS = 10.0


@dataclass
class _Run:
    request: Launch
    child: Child
    order_fd: int
    work_dir: Path


class HostedRuns:
    """All runs of this host.

    Args:
        ground: What their children have in common.
        connect: Takes the host's end of a run's own connection.
    """

    def __init__(self, ground: Ground, connect: Callable[[socket.socket, str], None]) -> None:
        self._ground = ground
        self._connect = connect
        self._living: dict[str, _Run] = {}
        self._ended: OrderedDict[str, Ending] = OrderedDict()

    def launch(self, request: Launch, order_fd: int) -> dict[str, Any]:
        """Starts a run and returns who its process is.

        Args:
            request: The run.
            order_fd: The sealed memory with its order; the host's from now on.

        Raises:
            Refusal: It runs here already, or nothing more can be started.
        """
        try:
            if request.run_id in self._living:
                raise Refusal(Code.DUPLICATE, "The run has a process here already.")
            run = self._start(request, order_fd)
        except BaseException:
            os.close(order_fd)
            raise
        self._living[request.run_id] = run
        started = worker.of_pid(run.child.pid)
        return {
            "machine": worker.machine(),
            "pid": run.child.pid,
            "started": started.started if started else "",
        }

    def terminate(self, request: Terminate) -> None:
        """Asks a run to end.

        Raises:
            Refusal: There is none of that name.
        """
        run = self._living.get(request.run_id)
        if run is None:
            raise Refusal(Code.UNKNOWN, "The run has no process here.")
        self._ground.children.stop(
            run.child, signal.SIGTERM, grace_seconds=request.grace_seconds, reason="cancelled"
        )

    def status(self, run_id: str) -> dict[str, str]:
        """Returns `status` and `message`, as a run launcher needs them."""
        if run_id in self._living:
            return {"status": "RUNNING", "message": ""}
        ending = self._ended.get(run_id)
        if ending is None:
            return {"status": "NOT_FOUND", "message": "The worker host has no such run."}
        status = "SUCCESS" if ending.exit_code == 0 else "FAILED"
        return {"status": status, "message": f"The run's process has ended: {ending.in_words}."}

    def org_id_of(self, run_id: str) -> int:
        """Returns whose a living run is.

        Raises:
            Refusal: It has ended.
        """
        run = self._living.get(run_id)
        if run is None:
            raise Refusal(Code.UNKNOWN, "The run has ended.")
        return run.request.org_id

    def end_all(self) -> None:
        """Asks all of them to end."""
        for run in self._living.values():
            self._ground.children.stop(
                run.child, signal.SIGTERM, grace_seconds=KILL_GRACE_SECONDS, reason="cancelled"
            )

    def clear(self) -> None:
        """Forgets all of them, in a child."""
        self._living.clear()
        self._ended.clear()

    def _start(self, request: Launch, order_fd: int) -> _Run:
        ground = self._ground
        ours, theirs = socket.socketpair()
        log_fd: int | None = None
        work_dir: Path | None = None
        try:
            log_fd = ground.places.open_run_log(request.run_id)
            work_dir = ground.places.make_work_dir("run")
            writable = ground.places.make_compute_logs(request.run_id)
            start = RunStart(request.run_id, request.org, request.org_id, order_fd, theirs.fileno())
            child = ground.children.fork(
                Child(
                    "run",
                    {"run_id": request.run_id, "org_id": request.org_id},
                    on_end=lambda ending: self._has_ended(request.run_id, ending),
                ),
                Start(
                    tidily(lambda: ground.bodies.run(start), work_dir),
                    ground.fenced(request.org_id, "run", work_dir, writable=writable),
                    output_fd=log_fd,
                    kept_fds=(order_fd, theirs.fileno()),
                    environment=ground.environment,
                ),
            )
        except OSError as error:
            ours.close()
            self._drop(work_dir)
            raise Refusal(Code.FULL, f"No place for the run: {error.strerror}.") from None
        except BaseException:
            ours.close()
            self._drop(work_dir)
            raise
        finally:
            theirs.close()
            if log_fd is not None:
                os.close(log_fd)
        self._connect(ours, request.run_id)
        return _Run(request, child, order_fd, work_dir)

    def _drop(self, work_dir: Path | None) -> None:
        if work_dir is not None:
            self._ground.discard(work_dir)

    def _has_ended(self, run_id: str, ending: Ending) -> None:
        run = self._living.pop(run_id)
        self._ended[run_id] = ending
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        if ending.exit_code == 0:
            os.close(run.order_fd)
        else:
            self._report(run, ending)
        self._ground.tidy(run.work_dir)

    def _report(self, run: _Run, ending: Ending) -> None:
        """Lets a child say how the run ended, where it has not done so itself."""
        try:
            self._fork_reporter(run, ending)
        except (OSError, Refusal) as error:
            # The daemon asks for the run's status and reports it, only later.
            _LOGGER.warning("cannot report the end of run %s: %s", run.request.run_id, error)
        finally:
            os.close(run.order_fd)

    def _fork_reporter(self, run: _Run, ending: Ending) -> None:
        ground, request = self._ground, run.request
        work_dir = ground.places.make_work_dir("run")
        start = RunStart(
            request.run_id, request.org, request.org_id, run.order_fd, ending=ending.in_words
        )
        reporter = Child(
            "post_mortem", {"run_id": request.run_id}, on_end=lambda _: ground.tidy(work_dir)
        )
        reporter.deadline = reporter.started + REPORT_SECONDS
        log_fd: int | None = None
        try:
            log_fd = ground.places.open_run_log(request.run_id)
            ground.children.fork(
                reporter,
                Start(
                    tidily(lambda: ground.bodies.report(start), work_dir),
                    ground.fenced(request.org_id, "run", work_dir),
                    output_fd=log_fd,
                    kept_fds=(run.order_fd,),
                    environment=ground.environment,
                ),
            )
        except BaseException:
            ground.discard(work_dir)
            raise
        finally:
            if log_fd is not None:
                os.close(log_fd)
