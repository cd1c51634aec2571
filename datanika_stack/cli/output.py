"""Shows what the API answered: as tables for people, as JSON for programs."""

import json
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from datanika_stack.api_client import ApiError

console = Console()
error_console = Console(stderr=True)

# Where no terminal gives a width, a row should stay a line.
_WIDTH_ELSEWHERE = 240
_LONG_COLUMNS = frozenset({"config", "error", "message", "scopes"})
_STYLES = {
    "success": "green",
    "pass": "green",
    "ready": "green",
    "failed": "red",
    "fail": "red",
    "error": "red",
    "critical": "red",
    "warn": "yellow",
    "warning": "yellow",
    "running": "cyan",
}


def show(value: Any, *, columns: Sequence[str], as_json: bool) -> None:
    """Writes `value` to standard output.

    Args:
        value: What the API answered: an object, a list of objects, or None.
        columns: The columns of a list, in order; all of the first row's where empty.
        as_json: Whether a program reads it.
    """
    if as_json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif isinstance(value, list):
        if not console.is_terminal:
            # Of print(), too, Rich takes no more than the console's own width.
            console.width = _WIDTH_ELSEWHERE
        nothing = Text("Nothing yet.", style="dim")
        console.print(_list_table(value, columns) if value else nothing)
    elif isinstance(value, dict):
        console.print(_object_table(value))


def show_error(error: Exception, *, as_json: bool) -> None:
    """Writes what went wrong to standard error."""
    if as_json:
        typer.echo(json.dumps({"error": _error_object(error)}, ensure_ascii=False), err=True)
    else:
        error_console.print(Text(f"Error: {error}", style="red"), soft_wrap=True)


def styled(status: str) -> Text:
    """Returns `status` in its colour."""
    return Text(status, style=_STYLES.get(status, ""))


def _error_object(error: Exception) -> dict[str, Any]:
    if not isinstance(error, ApiError):
        return {"code": "usage", "detail": str(error)}
    return {
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        "errors": [{"pointer": e.pointer, "detail": e.detail} for e in error.errors],
        "trace_id": error.trace_id,
        "retry_after_seconds": error.retry_after_seconds,
    }


def _list_table(rows: list[dict[str, Any]], columns: Sequence[str]) -> Table:
    names = list(columns) or list(rows[0])
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name not in _LONG_COLUMNS)
    for row in rows:
        table.add_row(*(_time(row, name) or _cell(row.get(name)) for name in names))
    return table


def _object_table(value: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, content in value.items():
        table.add_row(name, _cell(content))
    return table


def _time(row: dict[str, Any], name: str) -> Text | None:
    """Returns a time (`…_at`, ISO 8601 in UTC) to the second; None for anything else."""
    value = row.get(name)
    if not name.endswith("_at") or not isinstance(value, str):
        return None
    return Text(value[:19].replace("T", " "))


def _cell(value: Any) -> Text:
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, str):
        return styled(value)
    if isinstance(value, bool | int | float):
        return Text(str(value).lower() if isinstance(value, bool) else str(value))
    return Text(json.dumps(value, ensure_ascii=False, indent=2))
