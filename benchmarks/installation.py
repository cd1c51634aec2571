"""From a fresh clone to the demo's result, installation included; needs the network."""

import subprocess
import time
from pathlib import Path

from benchmarks.harness import Measure, console, median_of
from benchmarks.workspace import BenchmarkError, Workspace

ROOT = Path(__file__).parents[1]
FIRST_DEMO_TARGET_SECONDS = 240.0
PORT_OFFSET = 15


def measure(workspace: Workspace) -> list[Measure]:
    """Clones what is committed, installs it and runs the demo; nothing in the quick run."""
    if workspace.quick:
        console.print("installation: left out of the quick run", style="dim")
        return []
    clone = workspace.directory / "clone"
    _timed("git", "clone", "--quiet", str(ROOT), str(clone))
    setup_seconds = _timed("make", "-C", str(clone), "setup")
    options = ["--exit", "--home", str(workspace.directory / "installed")]
    options += ["--port", str(workspace.port + PORT_OFFSET)]
    demo_seconds = _timed("make", "-C", str(clone), "demo", f"ARGS={' '.join(options)}")
    return [
        median_of("make setup in a fresh clone", [setup_seconds], "s"),
        median_of(
            "the first make demo, installation included",
            [setup_seconds + demo_seconds],
            "s",
            FIRST_DEMO_TARGET_SECONDS,
        ),
    ]


def _timed(*command: str) -> float:
    """Returns the seconds that a command takes.

    Raises:
        BenchmarkError: It failed.
    """
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return time.monotonic() - started
