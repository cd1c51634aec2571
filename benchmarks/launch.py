"""How soon runs start and end on the warm worker host, and how soon a killed one is tried again."""

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg

from benchmarks.bench_org import ROWS, bench_org
from benchmarks.harness import Measure, interleave, median_of
from benchmarks.memory import Sampler, pss_mb, tree_of
from benchmarks.stock_dagster import stock_dagster
from benchmarks.workspace import BenchmarkError, Workspace
from datanika_stack.api_client import ApiClient
from datanika_stack.demo.local_stack import LocalStack
from datanika_stack.endpoints import dsn_of, embedded_endpoints
from datanika_stack.layout import Home
from datanika_stack.polling import wait_for
from datanika_stack.run_following import ENDED, SUCCESS

RUN_TIMEOUT_SECONDS = 120.0

FIRST_STEP_TARGET_SECONDS = 0.5
SHARE_OF_STOCK_TARGET = 0.2
DLT_TARGET_SECONDS = 1.0
DBT_TARGET_SECONDS = 1.3
FAILED_TARGET_SECONDS = 5.0
RETRY_TARGET_SECONDS = 10.0
LOADING_TARGET_MB = 300.0


class Launching:
    """Launches runs of the demo's org by REST and says when what happened.

    Args:
        client: The API, signed in.
        org: The org's slug.
        stack: Whose stack it is.
    """

    def __init__(self, client: ApiClient, org: str, stack: LocalStack) -> None:
        self._client = client
        self._path = f"/orgs/{org}"
        self._dagster = dsn_of(embedded_endpoints(stack.secrets, stack.ports.postgres).dagster)

    def launch(self, collection: str, resource_id: int) -> str:
        """Launches a run and returns its id."""
        return self._client.post(f"{self._path}/{collection}/{resource_id}/runs")["id"]

    def ended(self, run_id: str) -> dict[str, Any]:
        """Waits for a run's end and returns it."""

        def has_ended() -> bool:
            return self.status(run_id) in ENDED

        if not wait_for(has_ended, timeout_seconds=RUN_TIMEOUT_SECONDS, interval_seconds=0.1):
            raise BenchmarkError(f"the run {run_id} has not ended")
        return self._client.get(f"{self._path}/runs/{run_id}")

    def status(self, run_id: str) -> str:
        """Returns a run's status as the API tells it."""
        return self._client.get(f"{self._path}/runs/{run_id}")["status"]

    def seconds(self, collection: str, resource_id: int) -> tuple[float, float]:
        """Returns the seconds from a launch to the first step and to the end of the last."""
        started = time.time()
        run = self.ended(self.launch(collection, resource_id))
        if run["status"] != SUCCESS:
            raise BenchmarkError(f"the run {run['id']} ended as {run['status']}: {run['error']}")
        begins = [datetime.fromisoformat(step["started_at"]) for step in run["steps"]]
        end = datetime.fromisoformat(run["ended_at"])
        return min(begins).timestamp() - started, end.timestamp() - started

    def worker_pid(self, run_id: str) -> int:
        """Waits until a run has a worker, and returns its process id."""
        found: list[int] = []

        def has_worker() -> bool:
            question = "SELECT value FROM run_tags WHERE run_id = %s AND key = 'datanika/worker'"
            with psycopg.connect(self._dagster) as connection:
                row = connection.execute(question, [run_id]).fetchone()
            found[:] = [json.loads(row[0])["pid"]] if row else []
            return bool(found)

        if not wait_for(has_worker, timeout_seconds=RUN_TIMEOUT_SECONDS, interval_seconds=0.02):
            raise BenchmarkError(f"the run {run_id} has no worker")
        return found[0]

    def seconds_to_failed_and_retried(
        self, collection: str, resource_id: int
    ) -> tuple[float, float]:
        """Kills a run's worker; returns the seconds until it is failed, and until it runs again."""
        run_id = self.launch(collection, resource_id)
        os.kill(self.worker_pid(run_id), signal.SIGKILL)
        killed = time.monotonic()
        self._wait(lambda: self.status(run_id) == "failed", "is not failed")
        failed_seconds = time.monotonic() - killed
        self._wait(lambda: self._has_retry(run_id), "has not been tried again")
        return failed_seconds, time.monotonic() - killed

    def _has_retry(self, run_id: str) -> bool:
        question = (
            "SELECT 1 FROM run_tags t JOIN runs r USING (run_id)"
            " WHERE t.key = 'dagster/parent_run_id' AND t.value = %s"
            " AND r.status NOT IN ('QUEUED', 'NOT_STARTED')"
        )
        with psycopg.connect(self._dagster) as connection:
            return connection.execute(question, [run_id]).fetchone() is not None

    @staticmethod
    def _wait(condition: Callable[[], bool], what: str) -> None:
        if not wait_for(condition, timeout_seconds=RUN_TIMEOUT_SECONDS, interval_seconds=0.05):
            raise BenchmarkError(f"the killed run {what}")


def measure(workspace: Workspace) -> list[Measure]:
    """Measures launches against a stock Dagster in interleaved rounds; leaves the stack running."""
    workspace.ensure_running()
    stack = LocalStack.at(Home.at(workspace.home), workspace.port)
    admin = embedded_endpoints(stack.secrets, stack.ports.postgres).admin
    if admin is None:
        raise BenchmarkError("the stack has no cluster of its own")
    rounds = 5 if workspace.quick else 20
    with bench_org(stack) as org:
        launching = Launching(org.client, org.slug, stack)
        upload_id, model_id = org.upload_id, org.model_id
        launching.seconds("uploads", upload_id)
        launching.seconds("transformations", model_id)
        with stock_dagster(workspace.directory / "stock", admin, workspace.port + 12) as stock:
            stock.first_step_seconds()
            first = interleave(
                rounds if not workspace.quick else 3,
                {
                    "ours": lambda: launching.seconds("uploads", upload_id)[0],
                    "stock": stock.first_step_seconds,
                },
            )
        ends = interleave(
            rounds,
            {
                "dlt": lambda: launching.seconds("uploads", upload_id)[1],
                "dbt": lambda: launching.seconds("transformations", model_id)[1],
            },
        )
        killed = [
            launching.seconds_to_failed_and_retried("uploads", upload_id)
            for _ in range(workspace.rounds)
        ]
        return [*_speed(first, ends), *_recovery(killed), *_memory(workspace, launching, upload_id)]


def _speed(first: dict[str, list[float]], ends: dict[str, list[float]]) -> list[Measure]:
    ours = median_of("launch → first step", first["ours"], "s", FIRST_STEP_TARGET_SECONDS)
    stock = median_of("the same, stock launcher and executor", first["stock"], "s")
    share = round(ours.value / stock.value, 3)
    return [
        ours,
        stock,
        Measure("warm host's share of the stock time", share, "", SHARE_OF_STOCK_TARGET),
        median_of(f"launch → end, dlt, {ROWS:,} rows", ends["dlt"], "s", DLT_TARGET_SECONDS),
        median_of("launch → end, dbt, one model", ends["dbt"], "s", DBT_TARGET_SECONDS),
    ]


def _recovery(killed: list[tuple[float, float]]) -> list[Measure]:
    failed, retried = zip(*killed, strict=True)
    return [
        median_of("killed worker → run failed", failed, "s", FAILED_TARGET_SECONDS),
        median_of("killed worker → retry started", retried, "s", RETRY_TARGET_SECONDS),
    ]


def _memory(workspace: Workspace, launching: Launching, upload_id: int) -> list[Measure]:
    """Returns what a run and its job take above the host that waits for them."""
    processes = workspace.status()["processes"]
    (host,) = [one["pid"] for one in processes if one["name"].startswith("worker_host")]
    idle = pss_mb(tree_of(host))
    with Sampler(lambda: pss_mb(tree_of(host))) as sampler:
        launching.seconds("uploads", upload_id)
    return [
        Measure("worker host, waiting", round(idle, 1), "MB"),
        Measure(
            f"run and job above it, {ROWS:,} rows",
            round(sampler.peak - idle, 1),
            "MB",
            LOADING_TARGET_MB,
        ),
    ]
