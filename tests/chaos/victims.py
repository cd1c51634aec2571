"""What is killed, and how its process is found."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Final

from datanika_dagster.launcher import worker
from datanika_dagster.tags import WORKER_TAG
from tests.chaos.site import Site

WORKER: Final = "worker"
_FOUND_SECONDS: Final = 30.0
_WORKERS: Final = """
    select t.value from runs r join run_tags t using (run_id)
    where r.status in ('STARTING', 'STARTED') and t.key = %s order by r.id
"""


def kill(site: Site, victim: str, dice: random.Random) -> int | None:
    """Kills a victim with SIGKILL; returns which process, None where none was found in time.

    Args:
        site: Where.
        victim: A name of `VICTIMS`.
        dice: Decides where there are several.
    """
    deadline = time.monotonic() + _FOUND_SECONDS
    while time.monotonic() < deadline:
        pids = VICTIMS[victim](site)
        if pids:
            pid = dice.choice(sorted(pids))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.05)
    return None


def is_replaced(site: Site, victim: str, pid: int) -> bool:
    """Tells whether everything is up, and what was killed is not what the supervisor speaks of."""
    return site.is_up() and (victim == WORKER or pid not in VICTIMS[victim](site))


def _workers(site: Site) -> list[int]:
    found = [worker.from_tag(tag) for (tag,) in site.rows(_WORKERS, WORKER_TAG)]
    return [one.pid for one in found if one and worker.is_alive(one)]


def _processes(prefix: str) -> Callable[[Site], list[int]]:
    def find(site: Site) -> list[int]:
        named = [one for one in site.state.processes if one.name.startswith(prefix)]
        return [one.pid for one in named if one.pid]

    return find


VICTIMS: Final[dict[str, Callable[[Site], list[int]]]] = {
    WORKER: _workers,
    "worker_host": _processes("worker_host"),
    "code_server": _processes("code_server"),
    "daemon": _processes("daemon"),
    "gateway": _processes("gateway"),
    "control_plane": _processes("control_plane"),
    "postgres": _processes("postgres"),
}
