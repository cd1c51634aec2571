"""How long the interactive tasks take on a warm host, beside what the database itself takes."""

import time
from collections.abc import Callable

import psycopg

from benchmarks.bench_org import SCHEMA, TABLE, bench_org
from benchmarks.harness import Measure
from benchmarks.workspace import Workspace
from datanika_stack.demo import airline
from datanika_stack.demo.local_stack import LocalStack
from datanika_stack.layout import Home

CONNECTION_TEST_TARGET_MS = 60.0
PREVIEW_TARGET_MS = 800.0
PLAIN = f"select * from {SCHEMA}.{TABLE}"
WITH_JINJA = f"select * from {{{{ source('{SCHEMA}', '{TABLE}') }}}}"


def measure(workspace: Workspace) -> list[Measure]:
    """Measures the test of a connection and two previews; leaves the stack running."""
    workspace.ensure_running()
    stack = LocalStack.at(Home.at(workspace.home), workspace.port)
    rounds = 20 if workspace.quick else 100
    with bench_org(stack) as org:
        run = org.client.post(f"{org.path}/uploads/{org.upload_id}/runs")
        while org.client.get(f"{org.path}/runs/{run['id']}")["status"] in ("pending", "running"):
            time.sleep(0.2)
        test = f"{org.path}/connections/{org.source_id}/test"
        preview = f"{org.path}/transformations/preview"
        dsn = stack.source().dsn(airline.DATABASE)
        tested, connected, plain, rendered = (
            _p95_ms(rounds, action)
            for action in (
                lambda: org.client.post(test),
                lambda: psycopg.connect(dsn).close(),
                lambda: org.client.post(preview, {"sql": PLAIN}),
                lambda: org.client.post(preview, {"sql": WITH_JINJA}),
            )
        )
    return [
        Measure("connection test, p95", tested, "ms"),
        Measure(
            "connection test, beside connecting, p95",
            round(tested - connected, 1),
            "ms",
            CONNECTION_TEST_TARGET_MS,
        ),
        Measure("preview of plain SQL, p95", plain, "ms", PREVIEW_TARGET_MS),
        Measure("preview with Jinja, p95", rendered, "ms", PREVIEW_TARGET_MS),
    ]


def _p95_ms(rounds: int, action: Callable[[], object]) -> float:
    action()
    taken: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return round(sorted(taken)[int(rounds * 0.95) - 1] * 1000, 1)
