"""The jobs of a host: each belongs to the connection that started it, and ends with it at the latest."""

import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datanika_dagster.launcher.host.child import Start
from datanika_dagster.launcher.host.children import Child, Ending
from datanika_dagster.launcher.host.connection import Connection
from datanika_dagster.launcher.host.ground import Ground
from datanika_dagster.launcher.host.protocol import Code, Kill, Refusal, StartJob
from datanika_dagster.launcher.host.tidiness import tidily

KILL_GRACE_SECONDS = 5.0
WRITES_PROJECTS = "dbt_parse"
"""The one kind that generates a project; the runs of an org only read them."""


@dataclass
class _Job:
    child: Child
    owner: Connection
    work_dir: Path


class HostedJobs:
    """All jobs of this host.

    Args:
        ground: What their children have in common.
        tell: Sends a message to a connection, which may have gone.
    """

    def __init__(self, ground: Ground, tell: Callable[[Connection, dict[str, Any]], None]) -> None:
        self._ground = ground
        self._tell = tell
        self._living: dict[str, _Job] = {}

    def start(
        self, owner: Connection, request: StartJob, org_id: int, descriptors: list[int]
    ) -> dict[str, Any]:
        """Starts a job and returns its name and process id.

        Args:
            owner: The connection that it lives for.
            request: What it is for.
            org_id: Whose it is, as the host knows.
            descriptors: Its end of the channel, and its output; the caller's to close.

        Raises:
            Refusal: Nothing more can be started.
        """
        channel_fd, *output = descriptors
        ground = self._ground
        name = secrets.token_hex(8)
        writes = request.kind == WRITES_PROJECTS and owner.run_id is None
        try:
            writable = ground.places.make_projects(org_id) if writes else ()
            work_dir = ground.places.make_work_dir("job" if owner.run_id else "task")
        except OSError as error:
            raise Refusal(Code.FULL, f"No place for the job: {error.strerror}.") from None
        label = {"job": name, "kind": request.kind, "org_id": org_id, "run_id": owner.run_id}
        child = Child("job", label, on_end=lambda ending: self._has_ended(name, ending))
        child.deadline = time.monotonic() + request.deadline_seconds
        try:
            ground.children.fork(
                child,
                Start(
                    tidily(lambda: ground.bodies.job(channel_fd), work_dir),
                    ground.fenced(
                        org_id,
                        "job",
                        work_dir,
                        writable=writable,
                        has_network=request.has_network,
                    ),
                    output_fd=output[0] if output else None,
                    kept_fds=(channel_fd,),
                    environment=ground.environment,
                ),
            )
        except BaseException:
            ground.discard(work_dir)
            raise
        self._living[name] = _Job(child, owner, work_dir)
        owner.jobs.add(name)
        return {"job": name, "pid": child.pid}

    def kill(self, owner: Connection, request: Kill) -> None:
        """Signals a job.

        Raises:
            Refusal: The connection has no such job.
        """
        job = self._living.get(request.job)
        if job is None or job.owner is not owner:
            raise Refusal(Code.UNKNOWN, "This connection has no such job.")
        if request.signal == "KILL":
            self._ground.children.kill(job.child, "cancelled")
        else:
            self._ground.children.stop(
                job.child, signal.SIGINT, grace_seconds=KILL_GRACE_SECONDS, reason="cancelled"
            )

    def end_those_of(self, owner: Connection) -> None:
        """Kills the jobs of a connection that has gone."""
        for name in owner.jobs:
            self._ground.children.kill(self._living[name].child)

    def end_tasks(self) -> None:
        """Kills the jobs that belong to no run."""
        for job in self._living.values():
            if job.owner.run_id is None:
                self._ground.children.kill(job.child, "cancelled")

    def clear(self) -> None:
        """Forgets all of them, in a child."""
        self._living.clear()

    def _has_ended(self, name: str, ending: Ending) -> None:
        job = self._living.pop(name)
        job.owner.jobs.discard(name)
        self._ground.tidy(job.work_dir)
        self._tell(
            job.owner,
            {
                "job": name,
                "exit": ending.exit_code,
                "reason": ending.reason,
                "cpu_seconds": ending.cpu_seconds,
                "peak_bytes": ending.peak_bytes,
            },
        )
