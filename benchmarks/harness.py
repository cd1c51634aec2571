"""Measures, their table and their JSON file; knows no benchmark."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
console = Console()


@dataclass(frozen=True)
class Measure:
    """One figure.

    Attributes:
        name: What was measured.
        value: The median of the rounds.
        unit: Of value and target.
        target: The promise; None where there is none.
        rounds: The figure of each round.
        at_least: Whether the value must reach the target rather than stay under it.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    rounds: tuple[float, ...] = field(default=())
    at_least: bool = False

    @property
    def ok(self) -> bool:
        """Whether the promise is kept."""
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_object(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "ok": self.ok,
            "rounds": list(self.rounds) or [self.value],
        }


def median_of(
    name: str, rounds: Sequence[float], unit: str, target: float | None = None
) -> Measure:
    """Returns the measure of several rounds."""
    value = round(statistics.median(rounds), 3)
    return Measure(name, value, unit, target, tuple(round(r, 3) for r in rounds))


def interleave(rounds: int, variants: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Runs every variant once per round, so that a busy moment of the machine hits all of them."""
    results: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            results[name].append(variant())
    return results


def machine() -> str:
    """Describes this machine in one line."""
    memory_gb = psutil.virtual_memory().total / 1e9
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{memory_gb:.0f} GB, Python {platform.python_version()}"
    )


def write_result(name: str, load_average: float, measures: Sequence[Measure]) -> Path:
    """Writes `results/<name>.json` and returns its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "machine": machine(),
        "load_average": round(load_average, 2),
        "measures": [measure.as_object() for measure in measures],
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def print_measures(name: str, measures: Sequence[Measure]) -> None:
    """Shows the measures of one benchmark."""
    table = Table(title=name, title_justify="left")
    table.add_column("Measure")
    table.add_column("Value", justify="right", style="cyan")
    table.add_column("Target", justify="right")
    table.add_column("Rounds", justify="right", style="dim")
    table.add_column("")
    for measure in measures:
        sign = "≥" if measure.at_least else "≤"
        target = "" if measure.target is None else f"{sign} {measure.target:g} {measure.unit}"
        rounds = " ".join(f"{value:g}" for value in measure.rounds)
        mark = "[green]ok[/]" if measure.ok else "[red]missed[/]"
        table.add_row(
            measure.name,
            f"{measure.value:g} {measure.unit}",
            target,
            rounds,
            mark if measure.target is not None else "",
        )
    console.print(table)
