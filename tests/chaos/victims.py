"""What is killed, and how its process is found."""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Final

from datanika_dagster.launcher import worker
from datanika_dagster.tags import WORKER_TAG
from tests.chaos.site import Site

_WORKERS: Final = """
    select t.value from runs r join run_tags t using (run_id)
    where r.status in ('STARTING', 'STARTED') and t.key = %s order by r.id
"""


def kill(site: Site, victim: str) -> bool:
    """Kills a victim with SIGKILL; returns whether there was one.

    Args:
        site: Where.
        victim: A name of `VICTIMS`.
    """
    pid = VICTIMS[victim](site)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True


def _worker(site: Site) -> int | None:
    for (tag,) in site.rows(_WORKERS, WORKER_TAG):
        found = worker.from_tag(tag)
        if found and worker.is_alive(found):
            return found.pid
    return None


def _process(prefix: str) -> Callable[[Site], int | None]:
    def find(site: Site) -> int | None:
        pids = [one.pid for one in site.state.processes if one.name.startswith(prefix) and one.pid]
        return pids[0] if pids else None

    return find


VICTIMS: Final[dict[str, Callable[[Site], int | None]]] = {
    "worker": _worker,
    "worker_host": _process("worker_host"),
    "code_server": _process("code_server"),
    "daemon": _process("daemon"),
    "gateway": _process("gateway"),
    "control_plane": _process("control_plane"),
    "postgres": _process("postgres"),
}
