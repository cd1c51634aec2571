"""The demo: how long it takes, and whether the warehouse holds exactly what the source holds."""

import psycopg

from benchmarks.checksums import different_columns, table_checksum
from benchmarks.harness import Measure, console, median_of
from benchmarks.workspace import Workspace, run_datanika, up
from datanika_stack.demo.airline import TABLES
from datanika_stack.demo.definitions import SCHEMA

DEMO_TARGET_SECONDS = 60.0
LOAD_TARGET_SECONDS = 15.0
UP_TARGET_SECONDS = 12.0


def measure(workspace: Workspace) -> list[Measure]:
    """Runs the demo, starts stacks, compares both databases; leaves the demo's stack running."""
    demos = workspace.demos
    parts = [demo.report["seconds"] for demo in demos]
    measures = [
        median_of("demo --json --exit", [d.seconds for d in demos], "s", DEMO_TARGET_SECONDS),
        median_of("load of five tables", [p["load"] for p in parts], "s", LOAD_TARGET_SECONDS),
        median_of("three models, their tests", [p["transform"] for p in parts], "s"),
        median_of("up on an empty home", _fresh_starts(workspace), "s", UP_TARGET_SECONDS),
    ]
    seconds: list[float] = []
    for _ in range(workspace.rounds):
        workspace.stop()
        seconds.append(workspace.start())
    measures.append(median_of("up on a home with data", seconds, "s", UP_TARGET_SECONDS))
    return measures + _compare(demos[0].report["source_url"], demos[0].report["warehouse_url"])


def _fresh_starts(workspace: Workspace) -> list[float]:
    rounds: list[float] = []
    for number in range(workspace.rounds):
        home = workspace.directory / f"fresh{number}"
        rounds.append(up(home, workspace.port + 10))
        run_datanika("down", "--home", str(home))
    return rounds


def _compare(source_url: str, warehouse_url: str) -> list[Measure]:
    """Returns one measure per table: how many of its columns are not the source's."""
    measures: list[Measure] = []
    with psycopg.connect(source_url) as source, psycopg.connect(warehouse_url) as warehouse:
        for table in TABLES:
            original = table_checksum(source, "public", table)
            copy = table_checksum(warehouse, SCHEMA, table, columns=list(original.columns))
            wrong = different_columns(original, copy)
            if wrong:
                console.print(f"{table}: {', '.join(wrong)} differ", style="red")
            name = f"{table}: {original.rows:,} rows, {len(original.columns)} columns, different"
            measures.append(Measure(name, len(wrong), "columns", 0))
    return measures
