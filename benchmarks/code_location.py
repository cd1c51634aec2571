"""What an org's code location costs: memory of its server, CPU to build its definitions."""

import json
import subprocess
import sys

from benchmarks.harness import Measure, interleave, median_of
from benchmarks.memory import pss_mb
from benchmarks.workspace import BenchmarkError, Workspace
from datanika_stack.polling import wait_for

TABLES = 1000
PSS_TARGET_MB = 130.0
BUILD_TARGET_CPU_SECONDS = 1.0
START_TIMEOUT_SECONDS = 60.0


def measure(workspace: Workspace) -> list[Measure]:
    """Measures both, the builds against plain Dagster assets in interleaved rounds."""
    rounds = interleave(
        3 if workspace.quick else 7,
        {
            "from the manifest": lambda: _build_cpu_seconds("manifest"),
            "one @asset per table": lambda: _build_cpu_seconds("assets"),
        },
    )
    return [
        median_of(
            f"definitions of {TABLES:,} tables",
            rounds["from the manifest"],
            "CPU s",
            BUILD_TARGET_CPU_SECONDS,
        ),
        median_of(
            f"{TABLES:,} plain @asset functions, for comparison",
            rounds["one @asset per table"],
            "CPU s",
        ),
        median_of("code server, PSS", [_code_server_mb(workspace)], "MB", PSS_TARGET_MB),
    ]


def _build_cpu_seconds(variant: str) -> float:
    """Builds in a process of its own, so that no round profits from the one before."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.build_definitions", variant, str(TABLES)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["cpu_seconds"]


def _code_server_mb(workspace: Workspace) -> float:
    """Returns the memory of the demo org's code server, once it has loaded its definitions."""
    workspace.ensure_running()
    servers: list[int] = []

    def is_running() -> bool:
        found = workspace.status()["processes"]
        running = [p for p in found if p["name"].startswith("code") and p["state"] == "running"]
        servers[:] = [server["pid"] for server in running]
        return bool(servers)

    if not wait_for(is_running, timeout_seconds=START_TIMEOUT_SECONDS):
        raise BenchmarkError("The org's code server did not start.")
    return max(pss_mb([server]) for server in servers)
