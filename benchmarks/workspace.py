"""The stack that benchmarks share: one home on which the demo has run once."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_COMMAND = [sys.executable, "-m", "datanika_stack.cli.main"]


class BenchmarkError(RuntimeError):
    """A command of the benchmark failed."""


@dataclass(frozen=True)
class Demo:
    """A finished `datanika demo --json --exit`."""

    seconds: float
    report: dict[str, Any]


@dataclass
class Workspace:
    """Where benchmarks keep their stacks.

    Attributes:
        directory: Removed by whoever made it.
        port: Base port of the first stack.
        quick: Whether to end within three minutes.
    """

    directory: Path
    port: int
    quick: bool

    @property
    def home(self) -> Path:
        return self.directory / "demo"

    @cached_property
    def demo(self) -> Demo:
        """The demo on an empty home, once per process; the stack is down afterwards."""
        options = ["--json", "--exit", "--home", str(self.home), "--port", str(self.port)]
        started = time.monotonic()
        output = run_datanika("demo", *options)
        return Demo(time.monotonic() - started, json.loads(output))

    def start(self) -> float:
        """Starts the demo's stack, and with it its source, again; returns the seconds it took."""
        _ = self.demo
        return up(self.home, self.port)

    def status(self) -> dict[str, Any]:
        """Returns `datanika status --json`."""
        return json.loads(run_datanika("status", "--json", "--home", str(self.home)))

    def stop(self) -> None:
        """Stops the demo's stack and, with it, its source."""
        run_datanika("down", "--home", str(self.home))


def up(home: Path, port: int) -> float:
    """Runs `datanika up --detach`; returns the seconds until the stack is ready."""
    started = time.monotonic()
    run_datanika(
        "up", "--detach", "--home", str(home), "--port", str(port), networks="127.0.0.1/32"
    )
    return time.monotonic() - started


def run_datanika(*arguments: str, networks: str = "") -> str:
    """Runs a command and returns what it printed.

    Raises:
        BenchmarkError: It failed.
    """
    environment = ["env", f"DATANIKA_ALLOWED_NETWORKS={networks}"] if networks else []
    done = subprocess.run(
        [*environment, *_COMMAND, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(f"datanika {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout
