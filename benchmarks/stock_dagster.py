"""A stock Dagster beside ours, for comparison: default launcher, coordinator and executor.

Same machine, same PostgreSQL, same version: only what this project replaces is different.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
from psycopg import sql
from sqlalchemy import URL

from benchmarks.workspace import BenchmarkError
from datanika_stack.endpoints import dsn_of
from datanika_stack.polling import wait_for
from datanika_stack.process_tree import end_all

DATABASE = "bench_stock_dagster"
START_TIMEOUT_SECONDS = 90.0
RUN_TIMEOUT_SECONDS = 120.0

_DEFINITIONS = """
import dagster as dg

@dg.asset
def one_table():
    return None

defs = dg.Definitions(assets=[one_table])
"""
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_TIMES = """
query Times($run: ID!) {
  runOrError(runId: $run) { ... on Run { status stepStats { startTime } endTime } }
}
"""
_WORKSPACE = """
{ workspaceOrError: locationStatusesOrError {
  ... on WorkspaceLocationStatusEntries { locationStatusEntries: entries { loadStatus } }
} }
"""


@dataclass(frozen=True)
class StockDagster:
    """A running stock deployment."""

    url: str

    def first_step_seconds(self) -> float:
        """Launches the asset and returns the seconds until its step has started."""
        started = time.time()
        params = {
            "selector": {
                "repositoryLocationName": "stock",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["one_table"]}],
            },
            "mode": "default",
        }
        launched = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if "run" not in launched:
            raise BenchmarkError(f"stock Dagster refused to launch: {launched}")
        run = self._ended(launched["run"]["runId"])
        return run["stepStats"][0]["startTime"] - started

    def _ended(self, run_id: str) -> dict:
        found: dict = {}

        def has_ended() -> bool:
            found.update(self._ask(_TIMES, {"run": run_id})["runOrError"])
            return found["status"] in {"SUCCESS", "FAILURE"}

        if not wait_for(has_ended, timeout_seconds=RUN_TIMEOUT_SECONDS):
            raise BenchmarkError("stock Dagster's run has not ended")
        if found["status"] != "SUCCESS":
            raise BenchmarkError("stock Dagster's run failed")
        return found

    def is_loaded(self) -> bool:
        """Returns whether it answers and has its code."""
        try:
            workspace = self._ask(_WORKSPACE, {})["workspaceOrError"]
        except (httpx.HTTPError, KeyError):
            return False
        return any(entry["loadStatus"] == "LOADED" for entry in workspace["locationStatusEntries"])

    def _ask(self, query: str, variables: dict) -> dict:
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, timeout=30.0)
        return answer.raise_for_status().json()["data"]


@contextmanager
def stock_dagster(directory: Path, admin_url: URL, port: int) -> Iterator[StockDagster]:
    """Runs a stock webserver, daemon and code server; takes them and the database away again.

    Args:
        directory: Its DAGSTER_HOME, made here.
        admin_url: A superuser of the server that holds its storage.
        port: Where its webserver listens; the next one is its code server's.
    """
    directory.mkdir(parents=True)
    _make_database(admin_url)
    storage = admin_url.set(drivername="postgresql+psycopg2", database=DATABASE)
    text = storage.render_as_string(hide_password=False)
    (directory / "dagster.yaml").write_text(
        json.dumps(
            {"storage": {"postgres": {"postgres_url": text}}, "telemetry": {"enabled": False}}
        )
    )
    (directory / "stock.py").write_text(_DEFINITIONS)
    workspace = {"grpc_server": {"host": "127.0.0.1", "port": port + 1, "location_name": "stock"}}
    (directory / "workspace.yaml").write_text(json.dumps({"load_from": [workspace]}))
    commands = [
        ["dagster", "api", "grpc", "-f", "stock.py", "-p", str(port + 1), "-h", "127.0.0.1"],
        ["dagster_webserver", "-w", "workspace.yaml", "-p", str(port), "-h", "127.0.0.1"],
        ["dagster._daemon", "run", "-w", "workspace.yaml"],
    ]
    processes = [_start(directory, command) for command in commands]
    try:
        stock = StockDagster(f"http://127.0.0.1:{port}")
        if not wait_for(stock.is_loaded, timeout_seconds=START_TIMEOUT_SECONDS):
            raise BenchmarkError(f"stock Dagster did not start; see {directory}")
        yield stock
    finally:
        end_all([psutil.Process(process.pid) for process in processes], grace_seconds=5.0)
        for process in processes:
            process.wait()
        _drop_database(admin_url)


def _start(directory: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    with (directory / f"{command[0]}.log").open("ab") as log:
        return subprocess.Popen(
            ["env", f"DAGSTER_HOME={directory}", sys.executable, "-m", *command],
            cwd=directory,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _make_database(admin_url: URL) -> None:
    _drop_database(admin_url)
    with psycopg.connect(dsn_of(admin_url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _drop_database(admin_url: URL) -> None:
    with psycopg.connect(dsn_of(admin_url), autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE))
        )
