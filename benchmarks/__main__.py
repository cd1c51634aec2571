"""`python -m benchmarks [--quick] [NAME …]`: runs them, prints tables, writes results/*.json."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import (
    api,
    code_location,
    events,
    fair_queue,
    first_light,
    gateway,
    installation,
    launch,
    many_orgs,
    row_security,
    run_rate,
    tasks,
)
from benchmarks.harness import Measure, console, print_measures, write_result
from benchmarks.workspace import Workspace

BENCHMARKS: dict[str, Callable[[Workspace], list[Measure]]] = {
    # First, while no stack of ours is running yet.
    "installation": installation.measure,
    "first_light": first_light.measure,
    "code_location": code_location.measure,
    "launch": launch.measure,
    "tasks": tasks.measure,
    "run_rate": run_rate.measure,
    "events": events.measure,
    "fair_queue": fair_queue.measure,
    "api": api.measure,
    "row_security": row_security.measure,
    "gateway": gateway.measure,
    "many_orgs": many_orgs.measure,
}
DEFAULT_PORT = 18700


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all of them.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="End within three minutes.")] = False,
    port: Annotated[int, typer.Option(help="The first of twenty free ports.")] = DEFAULT_PORT,
) -> None:
    """Measure what the product promises; exit with 1 when a target is missed."""
    unknown = set(names or []) - BENCHMARKS.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    directory = Path(tempfile.mkdtemp(prefix="datanika-bench-", dir="/tmp"))
    workspace = Workspace(directory, port, quick)
    all_ok = True
    try:
        for name in names or BENCHMARKS:
            load_average = os.getloadavg()[0]
            measures = BENCHMARKS[name](workspace)
            if not measures:
                continue
            print_measures(name, measures)
            path = write_result(name, load_average, measures)
            console.print(f"written to {path}", style="dim")
            all_ok = all_ok and all(measure.ok for measure in measures)
    finally:
        workspace.stop()
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if all_ok else 1)


if __name__ == "__main__":
    typer.run(main)
