"""Shows the demo's progress: live on a terminal, line by line elsewhere.

It must not know what the phases do.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

_NOTE_CHARACTERS = 60


class Surface(Protocol):
    """Where progress appears."""

    def begin(self, key: str, title: str) -> None:
        """Shows that something has begun."""
        ...

    def end(self, key: str, title: str, detail: str, seconds: float) -> None:
        """Shows that it is done."""
        ...

    def note(self, key: str, text: str) -> None:
        """Shows what it is doing."""
        ...

    def fail(self, key: str, title: str) -> None:
        """Shows that it failed."""
        ...


class Display:
    """Measures phases and shows them; a context manager.

    Args:
        console: Where to write; live progress only where it is a terminal.

    Attributes:
        seconds: Seconds per finished phase.
    """

    def __init__(self, console: Console) -> None:
        self._progress = _progress(console) if console.is_terminal else None
        self._surface: Surface = _Live(self._progress) if self._progress else _Lines(console)
        self.seconds: dict[str, float] = {}
        self._shown_assets: set[str] = set()

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress:
            self._progress.stop()

    @contextmanager
    def phase(self, key: str, title: str) -> Iterator[None]:
        """Shows a phase while its block runs and keeps its duration in `seconds`."""
        started = time.monotonic()
        self._surface.begin(key, title)
        try:
            yield
        except BaseException:
            self._surface.fail(key, title)
            raise
        self.seconds[key] = round(time.monotonic() - started, 2)
        self._surface.end(key, title, "", self.seconds[key])

    def note(self, key: str, text: str) -> None:
        """Shows what a phase is doing just now, where there is a terminal to show it on."""
        lines = text.splitlines()
        self._surface.note(key, lines[0][:_NOTE_CHARACTERS] if lines else "")

    def run_ended(self, run: dict[str, Any]) -> None:
        """Shows the tables and models that a run has made."""
        for asset in run["assets"]:
            if asset["name"] in self._shown_assets:
                continue
            self._shown_assets.add(asset["name"])
            self._show_asset(asset)

    def _show_asset(self, asset: dict[str, Any]) -> None:
        title = f"  {asset['kind']} {asset['name']}"
        rows = "" if asset["rows"] is None else f"{asset['rows']:,} rows"
        self._surface.begin(title, title)
        self._surface.end(title, title, rows, asset.get("duration_seconds") or 0.0)


class _Live:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = Lock()

    def begin(self, key: str, title: str) -> None:
        with self._lock:
            self._tasks[key] = self._progress.add_task(title, total=1, mark="", detail="", time="")

    def end(self, key: str, title: str, detail: str, seconds: float) -> None:
        shown = f"{seconds:.1f} s" if seconds else ""
        self._progress.update(
            self._tasks[key], completed=1, mark="[green]✓[/]", detail=detail, time=shown
        )

    def note(self, key: str, text: str) -> None:
        if key in self._tasks:
            self._progress.update(self._tasks[key], detail=escape(text))

    def fail(self, key: str, title: str) -> None:
        self._progress.update(self._tasks[key], completed=1, mark="[red]✗[/]")


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, key: str, title: str) -> None:
        """Nothing yet: a line says what is done."""

    def end(self, key: str, title: str, detail: str, seconds: float) -> None:
        parts = [title, detail, f"{seconds:.1f} s" if seconds else ""]
        self._console.print(Text("  ".join(part for part in parts if part)), soft_wrap=True)

    def note(self, key: str, text: str) -> None:
        """Nothing: a line says what is done."""

    def fail(self, key: str, title: str) -> None:
        self._console.print(Text(f"{title}: failed"), soft_wrap=True)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.fields[mark]}"),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[detail]}", justify="right", style="cyan"),
        TextColumn("{task.fields[time]}", justify="right", style="dim"),
        console=console,
    )
