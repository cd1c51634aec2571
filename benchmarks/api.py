"""How fast the REST API answers: many tenants, one API process, real authentication."""

import statistics
import time

import bcrypt
import httpx
import psutil

from benchmarks.harness import Measure, console
from benchmarks.load_client import Outcome, Request, closed_loop, open_loop
from benchmarks.served_api import PASSWORD, ServedApi, served_api
from benchmarks.workspace import BenchmarkError, Workspace

ORGS = 100
CONNECTIONS_PER_ORG = 100
OPEN_LOOP_PER_SECOND = 100.0
P95_TARGET_MS = 25.0
CLIENTS = 8
THROUGHPUT_TARGET_PER_SECOND = 300.0
# Beside bcrypt itself: one lookup, one session, the HTTP around it.
LOGIN_OVERHEAD_TARGET_MS = 30.0
LOGINS = 9
WARM_UP_SECONDS = 2.0
SEED = 3


def measure(workspace: Workspace) -> list[Measure]:
    """Measures authenticated GETs in an open and a closed loop, and what a login costs."""
    seconds = 8.0 if workspace.quick else 30.0
    directory = workspace.directory / "api"
    with served_api(
        directory, workspace.port + 10, orgs=ORGS, connections_per_org=CONNECTIONS_PER_ORG
    ) as api:
        requests = _requests(api)
        closed_loop(api.port, requests, clients=2, seconds=WARM_UP_SECONDS, seed=SEED)
        paced = open_loop(
            api.port, requests, per_second=OPEN_LOOP_PER_SECOND, seconds=seconds, seed=SEED
        )
        server = psutil.Process(api.pid)
        before = server.cpu_times()
        full = closed_loop(api.port, requests, clients=CLIENTS, seconds=seconds, seed=SEED)
        after = server.cpu_times()
        server_cpu_seconds = after.user + after.system - before.user - before.system
        login_ms, bcrypt_ms = _login_cost(api)
    _refuse_errors(paced, full)
    share = full.own_cpu_seconds / full.elapsed_seconds
    console.print(
        f"closed loop: server {server_cpu_seconds / full.elapsed_seconds:.2f} cores, "
        f"load generator {share:.2f} cores",
        style="dim",
    )
    return [
        Measure(
            "authenticated GET at 100/s, p95",
            round(paced.percentile_ms(95), 2),
            "ms",
            P95_TARGET_MS,
        ),
        Measure("authenticated GET at 100/s, p50", round(paced.percentile_ms(50), 2), "ms"),
        Measure(
            f"authenticated GETs, {CLIENTS} clients",
            round(full.requests_per_second, 1),
            "1/s",
            THROUGHPUT_TARGET_PER_SECOND,
            at_least=True,
        ),
        Measure("the load generator's own share", round(share, 3), "cores"),
        Measure("login", round(login_ms, 1), "ms"),
        Measure(
            "login, beside its bcrypt",
            round(login_ms - bcrypt_ms, 1),
            "ms",
            LOGIN_OVERHEAD_TARGET_MS,
        ),
    ]


def _requests(api: ServedApi) -> list[Request]:
    """Half of them lists, half single connections, over all orgs."""
    found = []
    for tenant in api.tenants:
        base = f"/api/v1/orgs/{tenant.slug}/connections"
        found.append(Request(base, tenant.token))
        found.append(Request(f"{base}/{tenant.connection_ids[50]}", tenant.token))
    return found


def _login_cost(api: ServedApi) -> tuple[float, float]:
    """Returns the medians of a login and of bcrypt alone, measured in turns."""
    password_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12))
    logins, comparisons = [], []
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}") as client:
        for _ in range(LOGINS):
            started_at = time.perf_counter()
            body = {"email": api.email, "password": PASSWORD}
            client.post("/api/v1/auth/login", json=body).raise_for_status()
            logins.append(time.perf_counter() - started_at)
            started_at = time.perf_counter()
            bcrypt.checkpw(PASSWORD.encode(), password_hash)
            comparisons.append(time.perf_counter() - started_at)
    return statistics.median(logins) * 1000, statistics.median(comparisons) * 1000


def _refuse_errors(*outcomes: Outcome) -> None:
    wrong = sum(outcome.wrong for outcome in outcomes)
    if wrong:
        raise BenchmarkError(f"{wrong} answers were not 200")
