"""The stacks that benchmarks share: homes on which the demo has run, one per round."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
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
    def rounds(self) -> int:
        """How often something is measured that takes a minute."""
        return 1 if self.quick else 3

    @property
    def home(self) -> Path:
        """The home of the first round, whose data the other measures use."""
        return self.directory / "demo0"

    @cached_property
    def demos(self) -> list[Demo]:
        """The demo on an empty home, once per round; every stack is down afterwards."""
        return [self._demo(self.directory / f"demo{number}") for number in range(self.rounds)]

    def _demo(self, home: Path) -> Demo:
        options = ["--json", "--exit", "--home", str(home), "--port", str(self.port)]
        started = time.monotonic()
        output = run_datanika("demo", *options)
        return Demo(time.monotonic() - started, json.loads(output))

    def ensure_running(self) -> None:
        """Starts the demo's stack unless the measure before has left it running."""
        if not self.home.exists() or self.status()["state"] == "stopped":
            self.start()

    def start(self) -> float:
        """Starts the demo's stack, and with it its source, again; returns the seconds it took."""
        _ = self.demos
        return up(self.home, self.port)

    def status(self) -> dict[str, Any]:
        """Returns `datanika status --json`."""
        return json.loads(run_datanika("status", "--json", "--home", str(self.home)))

    def stop(self) -> None:
        """Stops the demo's stack, where one was made, and with it its source."""
        if self.home.exists():
            run_datanika("down", "--home", str(self.home))


def up(home: Path, port: int) -> float:
    """Runs `datanika up --detach`; returns the seconds until the stack is ready."""
    started = time.monotonic()
    run_datanika(
        "up", "--detach", "--home", str(home), "--port", str(port), networks="127.0.0.1/32"
    )
    return time.monotonic() - started


def run_datanika(
    *arguments: str, networks: str = "", environment: Mapping[str, str] | None = None
) -> str:
    """Runs a command, with more in its environment, and returns what it printed.

    Raises:
        BenchmarkError: It failed.
    """
    more = dict(environment or {}) | ({"DATANIKA_ALLOWED_NETWORKS": networks} if networks else {})
    prefix = ["env", *(f"{name}={value}" for name, value in more.items())] if more else []
    done = subprocess.run(
        [*prefix, *_COMMAND, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkError(f"datanika {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout
