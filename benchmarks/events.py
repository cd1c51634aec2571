"""How long after a run's change in Dagster its event is with a client of the WebSocket."""

import json
import secrets
import statistics
import threading
import time
from datetime import datetime
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from benchmarks.bench_org import BenchOrg, bench_org
from benchmarks.harness import Measure
from benchmarks.launch import RUN_TIMEOUT_SECONDS
from benchmarks.workspace import BenchmarkError, Workspace
from datanika_stack.api_client import DEFAULT_API_KEY_HEADER
from datanika_stack.demo.local_stack import LocalStack
from datanika_stack.layout import Home
from datanika_stack.polling import wait_for

TARGET_MS = 300.0


def measure(workspace: Workspace) -> list[Measure]:
    """Launches runs one after the other and listens; leaves the stack running."""
    workspace.ensure_running()
    stack = LocalStack.at(Home.at(workspace.home), workspace.port)
    runs = 12 if workspace.quick else 60
    with bench_org(stack) as org:
        delays_ms = sorted(_delays_ms(org, f"ws://127.0.0.1:{workspace.port}", runs))
    p95 = delays_ms[max(0, round(0.95 * len(delays_ms)) - 1)]
    return [
        Measure("change of a run to its event at a client, p95", round(p95, 1), "ms", TARGET_MS),
        Measure("the same, median", round(statistics.median(delays_ms), 1), "ms"),
        Measure("changes", len(delays_ms), "events"),
    ]


def _delays_ms(org: BenchOrg, server: str, runs: int) -> list[float]:
    url = f"{server}/api/v1{org.path}/events"
    told: dict[tuple[str, str], float] = {}
    wanted = {"name": f"events {secrets.token_hex(4)}", "scopes": ["runs:read"]}
    key = org.client.post(f"{org.path}/api-keys", wanted)["key"]
    with connect(url, additional_headers={DEFAULT_API_KEY_HEADER: key}) as socket:
        socket.recv(10)
        threading.Thread(target=_listen, args=(socket, told), daemon=True).start()
        delays: list[float] = []
        for _ in range(runs):
            run_id = org.client.post(f"{org.path}/uploads/{org.upload_id}/runs")["id"]
            end = (run_id, "run.success")
            wait_for(
                lambda end=end: end in told or (end[0], "run.failed") in told,
                timeout_seconds=RUN_TIMEOUT_SECONDS,
                interval_seconds=0.1,
            )
            run = org.client.get(f"{org.path}/runs/{run_id}")
            if run["status"] != "success":
                raise BenchmarkError(f"the run {run_id} is {run['status']}")
            delays += [
                1000 * (told[run_id, kind] - datetime.fromisoformat(run[changed_at]).timestamp())
                for kind, changed_at in (("run.running", "started_at"), ("run.success", "ended_at"))
                if (run_id, kind) in told
            ]
    return delays


def _listen(socket: ClientConnection, told: dict[tuple[str, str], float]) -> None:
    try:
        while True:
            event: dict[str, Any] = json.loads(socket.recv())
            told[event["subject"], event["kind"]] = time.time()
    except ConnectionClosed:
        return
