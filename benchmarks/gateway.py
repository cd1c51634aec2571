"""What the walls between orgs cost: the gateway against Dagster's own webserver, on the same storage.

And how fast the control plane lists as many runs.

Both show the same code location out of 100,000 runs of 100 orgs (quick: 5,000 of 20). Dagster's shows
everybody's runs to whoever asks; the gateway checks the session and shows those of one org.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psutil
import psycopg

import datanika_dagster
from benchmarks.harness import Measure
from benchmarks.load_client import Request, closed_loop
from benchmarks.run_history import ASSETS_PER_ORG, run_history
from benchmarks.served_api import ServedApi, Tenant, served_api
from benchmarks.workspace import BenchmarkError, Workspace
from datanika_manifest.names import location_name
from datanika_stack.polling import wait_for
from datanika_stack.process_tree import end_all
from datanika_stack.web_server import server_command

TARGET_RATIO = 1.3
LIST_TARGET_MS = 100.0
START_TIMEOUT_SECONDS = 90.0
WARM_UPS = 5

QUERIES = {
    "runsOrError": """
        query { runsOrError(limit: 25) { ... on Runs { results {
            id runId status pipelineName mode tags { key value } startTime endTime updateTime
            creationTime canTerminate hasReExecutePermission hasConcurrencyKeySlots
            assetSelection { path } } } } }
    """,
    "runsFeedOrError": """
        query { runsFeedOrError(limit: 25, view: ROOTS) { ... on RunsFeedConnection {
            results { id runStatus creationTime startTime endTime jobName tags { key value } }
            cursor hasMore } } }
    """,
    "assetNodes": """
        query { assetNodes { id assetKey { path } groupName opNames isMaterializable
            hasMaterializePermission assetMaterializations(limit: 1) { runId timestamp } } }
    """,
    "logsForRun": """
        query ($run: ID!) { logsForRun(runId: $run, limit: 1000) { ... on EventConnection {
            events { ... on MessageEvent { message timestamp level stepKey } } cursor hasMore } } }
    """,
}
_RUNS_OF_CONTROL_PLANE = """
    INSERT INTO runs (id, org_id, status, trigger, actor_name, targets, created_at)
    SELECT gen_random_uuid()::text, org.id, CASE n %% 50 WHEN 0 THEN 'failed' ELSE 'success' END,
        'schedule', 'system', '[]', now() - n * interval '1 second'
    FROM generate_series(1, %s) AS n
    JOIN (SELECT id, row_number() OVER () - 1 AS number, count(*) OVER () AS total
          FROM organizations) AS org ON org.number = n %% org.total
"""
_LAST_RUN = "query { runsOrError(limit: 1) { ... on Runs { results { runId } } } }"
_DEFINITIONS = """
import dagster as dg

specs = [dg.AssetSpec([{org!r}, "warehouse", "raw", f"t{{number}}"]) for number in range({assets})]

@dg.multi_asset(specs=specs, can_subset=True)
def tables(): ...

defs = dg.Definitions(assets=[tables])
"""


def measure(workspace: Workspace) -> list[Measure]:
    """Measures four queries in interleaved rounds."""
    orgs, runs, rounds = (20, 5_000, 40) if workspace.quick else (100, 100_000, 150)
    directory, port = workspace.directory / "gateway", workspace.port
    with served_api(directory / "api", port, orgs=orgs, connections_per_org=1) as api:
        listed = _listed_by_rest(api, runs, seconds=4.0 if workspace.quick else 15.0)
        names = [tenant.slug for tenant in api.tenants]
        with run_history(directory / "history", port + 2, names, runs) as storage_url:
            # One whose runs are neither the first nor the last.
            tenant = api.tenants[orgs // 2]
            place = _Place(directory / "dagster", port + 3, storage_url, tenant)
            with _servers(place, f"http://127.0.0.1:{api.port}") as (stock, ours):
                found = _compare(rounds, {"stock": stock, "gateway": ours})
    return [listed, *(one for name in QUERIES for one in _measures(name, found[name]))]


def _listed_by_rest(api: ServedApi, runs: int, *, seconds: float) -> Measure:
    with psycopg.connect(api.admin_dsn, autocommit=True) as admin:
        psycopg.ClientCursor(admin).execute(_RUNS_OF_CONTROL_PLANE, [runs])
        admin.execute("VACUUM ANALYZE runs")
    requests = [
        Request(f"/api/v1/orgs/{tenant.slug}/runs{query}", tenant.token)
        for tenant in api.tenants
        for query in ("", "?limit=100", "?status=failed")
    ]
    outcome = closed_loop(api.port, requests, clients=1, seconds=seconds, seed=1)
    if outcome.wrong:
        raise BenchmarkError(f"{outcome.wrong} lists of runs were not answered")
    p95 = round(outcome.percentile_ms(95), 1)
    return Measure(f"runs by REST, {runs:,} runs, p95", p95, "ms", LIST_TARGET_MS)


def _measures(name: str, times: Mapping[str, list[float]]) -> Iterator[Measure]:
    p95 = {who: statistics.quantiles(values, n=20)[-1] for who, values in times.items()}
    for who, value in p95.items():
        yield Measure(f"{name}, p95, {who}", round(value * 1000, 1), "ms")
    ratio = round(p95["gateway"] / p95["stock"], 2)
    yield Measure(f"{name}, p95, gateway / stock", ratio, "times", TARGET_RATIO)


def _compare(rounds: int, servers: Mapping[str, httpx.Client]) -> dict[str, dict[str, list[float]]]:
    variables = {who: {"run": _last_run(client)} for who, client in servers.items()}
    found: dict[str, dict[str, list[float]]] = {}
    for name, query in QUERIES.items():
        found[name] = {who: [] for who in servers}
        for number in range(WARM_UPS + rounds):
            for who, client in servers.items():
                seconds = _seconds(client, query, variables[who])
                if number >= WARM_UPS:
                    found[name][who].append(seconds)
    return found


class _Place:
    """Where the servers are and what they show."""

    def __init__(self, home: Path, port: int, storage_url: str, tenant: Tenant) -> None:
        self.home = home
        self.code_port, self.stock_port, self.gateway_port = port, port + 1, port + 2
        self.storage_url = storage_url
        self.tenant = tenant

    def prepare(self) -> None:
        """Writes the files of both, and what was made of the org's assets."""
        stock, ours = self.home / "stock", self.home / "ours"
        for directory in (stock, ours):
            directory.mkdir(parents=True)
            location = {
                "host": "127.0.0.1",
                "port": self.code_port,
                "location_name": location_name(self.tenant.slug),
            }
            workspace = {"load_from": [{"grpc_server": location}]}
            (directory / "workspace.yaml").write_text(json.dumps(workspace))
        storage = {"storage": {"postgres": {"postgres_url": self.storage_url}}}
        (stock / "dagster.yaml").write_text(json.dumps(storage | {"telemetry": {"enabled": False}}))
        shutil.copy(Path(datanika_dagster.__file__).parent / "dagster.yaml", ours)
        code = _DEFINITIONS.format(org=self.tenant.slug, assets=ASSETS_PER_ORG)
        (self.home / "location.py").write_text(code)
        with dg.DagsterInstance.from_config(str(stock)) as instance:
            for number in range(ASSETS_PER_ORG):
                key = dg.AssetKey([self.tenant.slug, "warehouse", "raw", f"t{number}"])
                instance.report_runless_asset_event(dg.AssetMaterialization(key))


@contextmanager
def _servers(place: _Place, control_plane_url: str) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Runs a code server and both webservers."""
    place.prepare()
    stock_url = f"http://127.0.0.1:{place.stock_port}"
    gateway_url = f"http://127.0.0.1:{place.gateway_port}/dagster"
    stock_home, own_home = place.home / "stock", place.home / "ours"
    python = [sys.executable, "-m"]
    code = ["dagster", "api", "grpc", "-f", "location.py", "-p", str(place.code_port)]
    web = ["dagster_webserver", "-w", str(stock_home / "workspace.yaml"), "-p"]
    environment = {
        "DAGSTER_HOME": str(own_home),
        "DATANIKA_HOME": str(place.home),
        "DATANIKA_DAGSTER_STORAGE_URL": place.storage_url,
        "DATANIKA_CONTROL_PLANE_URL": control_plane_url,
        "DATANIKA_PUBLIC_URL": control_plane_url,
        "DATANIKA_DAGSTER_PUBLIC_URL": gateway_url,
    }
    app = server_command("datanika_dagster.gateway.app:create_app", "127.0.0.1", place.gateway_port)
    processes = [
        _start(place.home, "code", [*python, *code], {"DAGSTER_HOME": str(stock_home)}),
        _start(
            place.home, "stock", [*python, *web, str(place.stock_port)],
            {"DAGSTER_HOME": str(stock_home)},
        ),
        _start(place.home, "gateway", list(app), environment),
    ]  # fmt: skip
    try:
        token = {"Authorization": f"Bearer {place.tenant.token}"}
        with _client(stock_url, {}) as stock, _client(gateway_url, token) as ours:
            for client in (stock, ours):
                if not wait_for(lambda c=client: _shows(c), timeout_seconds=START_TIMEOUT_SECONDS):
                    raise BenchmarkError(f"{client.base_url} does not answer; see {place.home}")
            yield stock, ours
    finally:
        end_all([psutil.Process(process.pid) for process in processes], grace_seconds=5.0)
        for process in processes:
            process.wait()


def _start(
    directory: Path, name: str, command: list[str], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    variables = [f"{key}={value}" for key, value in environment.items()]
    with (directory / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            ["env", *variables, *command],
            cwd=directory,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _client(url: str, headers: Mapping[str, str]) -> httpx.Client:
    return httpx.Client(base_url=url, headers=dict(headers), timeout=60.0)


def _shows(client: httpx.Client) -> bool:
    """Tells whether a server answers and has loaded the location."""
    try:
        answer = _ask(client, "query { assetNodes { id } }", {})
    except (httpx.HTTPError, BenchmarkError):
        return False
    return len(answer["assetNodes"]) == ASSETS_PER_ORG


def _seconds(client: httpx.Client, query: str, variables: Mapping[str, Any]) -> float:
    started = time.perf_counter()
    _ask(client, query, variables)
    return time.perf_counter() - started


def _last_run(client: httpx.Client) -> str:
    return _ask(client, _LAST_RUN, {})["runsOrError"]["results"][0]["runId"]


def _ask(client: httpx.Client, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    answer = client.post("/graphql", json={"query": query, "variables": dict(variables)})
    body = answer.raise_for_status().json()
    if body.get("errors"):
        raise BenchmarkError(str(body["errors"])[:500])
    return body["data"]
