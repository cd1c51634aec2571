"""A long queue of many orgs: what a run costs beside its own second, and whether each org gets its share.

A real stack with four places and ten orgs, each with a model that takes a second. All runs are queued at
once, those of one org after those of the other, which is the worst order for a queue that is one line.
"""

import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.harness import Measure
from benchmarks.workspace import BenchmarkError, Workspace, run_datanika
from datanika_stack.api_client import ApiClient, tokens_of
from datanika_stack.demo.local_stack import LocalStack
from datanika_stack.endpoints import dsn_of, embedded_endpoints
from datanika_stack.layout import Home
from datanika_stack.polling import wait_for
from datanika_stack.run_following import ENDED, SUCCESS

PLACES: Final = 4
ORGS: Final = 10
OVERHEAD_TARGET_SECONDS: Final = 0.5
LATENCY_TARGET_SECONDS: Final = 0.3
FAIR_TARGET_PERCENT: Final = 10.0
TIMEOUT_SECONDS: Final = 900.0
_MODEL: Final = {
    "name": "one_second",
    "schema": "bench",
    "sql": "select pg_sleep(1)::text as slept",
    "materialization": "table",
}
# Of runs that were launched while every place was free.
_LATENCY: Final = """
    SELECT extract(epoch FROM min(event.timestamp) FILTER (WHERE
               event.dagster_event_type = 'PIPELINE_STARTING')
           - min(event.timestamp) FILTER (WHERE
               event.dagster_event_type = 'PIPELINE_ENQUEUED'))
    FROM event_logs AS event WHERE event.run_id = ANY (%s) GROUP BY event.run_id
"""


@dataclass(frozen=True)
class _Org:
    """An org with its model published."""

    slug: str
    client: ApiClient
    model_id: int

    def launch(self) -> str:
        """Launches a run and returns its id."""
        path = f"/orgs/{self.slug}/transformations/{self.model_id}/runs"
        return self.client.post(path)["id"]

    def run(self, run_id: str) -> dict[str, Any]:
        """Returns a run."""
        return self.client.get(f"/orgs/{self.slug}/runs/{run_id}")

    def ended(self, run_id: str) -> dict[str, Any]:
        """Waits for the end of a run and returns it."""
        found: dict[str, Any] = {}

        def has_ended() -> bool:
            found.update(self.run(run_id))
            return found["status"] in ENDED

        if not wait_for(has_ended, timeout_seconds=TIMEOUT_SECONDS, interval_seconds=0.3):
            raise BenchmarkError(f"the run {run_id} has not ended")
        if found["status"] != SUCCESS:
            raise BenchmarkError(f"the run {run_id} ended as {found['status']}: {found['error']}")
        return found


def measure(workspace: Workspace) -> list[Measure]:
    """Queues a hundred runs of a second, thirty quickly; the stack is its own."""
    runs_per_org = 3 if workspace.quick else 10
    home = workspace.directory / "fair"
    with _stack(home, workspace.port) as stack, ExitStack() as clients:
        url = stack.start().api_url
        orgs = [_org(clients.enter_context(ApiClient(url)), number) for number in range(ORGS)]
        for org in orgs:
            org.ended(org.launch())
        latency = _latency(stack, orgs)
        started = time.monotonic()
        with ThreadPoolExecutor(PLACES) as pool:
            wanted = [org for org in orgs for _ in range(runs_per_org)]
            launched = list(zip(wanted, pool.map(_Org.launch, wanted), strict=True))
        runs = [(org, org.ended(run_id)) for org, run_id in launched]
        seconds = time.monotonic() - started
    return [
        Measure(
            "beside its own second, a run takes of a place",
            round(seconds * PLACES / len(runs) - 1, 2),
            "s",
            OVERHEAD_TARGET_SECONDS,
        ),
        Measure(
            "an org's share of the starts differs by", _unfairness(runs), "%", FAIR_TARGET_PERCENT
        ),
        Measure("queued → starting with a free place, p95", latency, "s", LATENCY_TARGET_SECONDS),
    ]


@contextmanager
def _stack(home: Path, port: int) -> Iterator[LocalStack]:
    environment = {"DATANIKA_PARALLEL_RUNS": str(PLACES)}
    options = ["--home", str(home), "--port", str(port)]
    try:
        run_datanika("up", "--detach", *options, environment=environment)
        yield LocalStack.at(Home.at(home), port)
    finally:
        run_datanika("down", "--home", str(home))


def _org(client: ApiClient, number: int) -> _Org:
    """Signs up and publishes the model."""
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"email": email, "password": secrets.token_hex(12), "org_name": f"Fair {number}"}
    signed_up = client.post("/auth/signup", body)
    client.use(tokens_of(signed_up))
    slug = signed_up["org"]["slug"]
    path = f"/orgs/{slug}"

    def is_ready() -> bool:
        return client.get(f"{path}/warehouse")["state"] == "ready"

    if not wait_for(is_ready, timeout_seconds=120, interval_seconds=0.5):
        raise BenchmarkError(f"{slug} has no warehouse")
    model = client.post(f"{path}/transformations", _MODEL)
    client.post(f"{path}/publish")
    return _Org(slug, client, model["id"])


def _latency(stack: LocalStack, orgs: Sequence[_Org]) -> float:
    """Returns the 95th percentile of the time in the queue, one run at a time."""
    run_ids = [org.ended(org.launch())["id"] for org in orgs for _ in range(2)]
    dagster = dsn_of(embedded_endpoints(stack.secrets, stack.ports.postgres).dagster)
    with psycopg.connect(dagster) as connection:
        seconds = sorted(float(row[0]) for row in connection.execute(_LATENCY, [run_ids]))
    return round(seconds[int(len(seconds) * 0.95)], 3)


def _unfairness(runs: Sequence[tuple[_Org, dict[str, Any]]]) -> float:
    """Returns by how much, at the worst full round, an org's share of the starts differs."""
    order = [org.slug for org, run in sorted(runs, key=lambda one: one[1]["started_at"])]
    worst = 0.0
    for end in range(ORGS, len(order) + 1, ORGS):
        counts = Counter(order[:end])
        fair = end / ORGS
        differs = max(abs(counts[slug] - fair) for slug in set(order))
        worst = max(worst, differs / (len(order) / ORGS))
    return round(worst * 100, 1)
