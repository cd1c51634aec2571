"""How many runs a node ends in an hour when there are always some in the queue."""

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench_org import BenchOrg, bench_org
from benchmarks.harness import Measure
from benchmarks.launch import RUN_TIMEOUT_SECONDS
from benchmarks.workspace import BenchmarkError, Workspace
from datanika_stack.demo.local_stack import LocalStack
from datanika_stack.layout import Home
from datanika_stack.polling import wait_for
from datanika_stack.run_following import ENDED, SUCCESS

UPLOADS = 4
"""As many as an org may run at once; each is a pool of its own."""


def measure(workspace: Workspace) -> list[Measure]:
    """Launches runs of loads of 1,000 rows all at once; leaves the stack running."""
    workspace.ensure_running()
    stack = LocalStack.at(Home.at(workspace.home), workspace.port)
    runs = 24 if workspace.quick else 200
    with bench_org(stack) as org:
        uploads = [_upload(org, f"Rate {number}") for number in range(UPLOADS)]
        org.journey.publish()
        started = time.monotonic()
        with ThreadPoolExecutor(UPLOADS) as pool:
            launched = list(
                pool.map(lambda number: _launch(org, uploads[number % UPLOADS]), range(runs))
            )
        _wait_for(org, launched)
        seconds = time.monotonic() - started
    return [
        Measure("runs in an hour, 1,000 rows each", round(runs / seconds * 3600), "1/h"),
        Measure("of which were queued at once", runs, "runs"),
    ]


def _upload(org: BenchOrg, name: str) -> int:
    return org.find("uploads", name) or org.add_upload(name, name.lower().replace(" ", "_"))


def _launch(org: BenchOrg, upload_id: int) -> str:
    return org.client.post(f"{org.path}/uploads/{upload_id}/runs")["id"]


def _wait_for(org: BenchOrg, run_ids: list[str]) -> None:
    """Waits for the end of all of them, one after the other."""
    for run_id in run_ids:
        statuses: list[str] = []

        def has_ended(run_id: str = run_id, statuses: list[str] = statuses) -> bool:
            statuses[:] = [org.client.get(f"{org.path}/runs/{run_id}")["status"]]
            return statuses[0] in ENDED

        wait_for(
            has_ended,
            timeout_seconds=RUN_TIMEOUT_SECONDS + 5 * len(run_ids),
            interval_seconds=0.5,
        )
        if statuses != [SUCCESS]:
            raise BenchmarkError(f"the run {run_id} is {statuses}")
