"""What the demo ends with: one JSON object for programs, tables and addresses for people."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_STATUS_STYLES = {"pass": "green", "warn": "yellow", "fail": "red"}


@dataclass
class Report:
    """The demo's result.

    Attributes:
        org: Slug of the org.
        email: The owner's login.
        password: Its password; this is a demo on your own machine.
        api_url: Root of the REST API.
        dagster_url: The Dagster UI.
        source_url: libpq URL of the source database, read-only.
        warehouse_url: libpq URL of the warehouse, read-only.
        tables: Rows per loaded table.
        models: Rows per model.
        tests: Status per test: pass, warn or fail.
        seconds: Seconds per phase.
        failures: Rows that a test has found wrong, per test that found any.
    """

    org: str
    email: str
    password: str = field(repr=False)
    api_url: str
    dagster_url: str
    source_url: str = field(repr=False)
    warehouse_url: str = field(repr=False)
    tables: dict[str, int]
    models: dict[str, int]
    tests: dict[str, str]
    seconds: dict[str, float]
    failures: dict[str, int]

    def as_object(self) -> dict[str, Any]:
        """Returns the JSON object of `datanika demo --json`, whose keys others rely on."""
        content = asdict(self)
        del content["failures"]
        return content


def print_report(report: Report, console: Console) -> None:
    """Shows the result to people."""
    console.print()
    console.print(_rows(report))
    console.print(_tests(report.tests, report.failures))
    console.print(_seconds(report.seconds))
    _print_addresses(report, console)


def _rows(report: Report) -> Table:
    table = Table(title="Rows", title_justify="left")
    table.add_column("Kind")
    table.add_column("Name")
    table.add_column("Rows", justify="right", style="cyan")
    for kind, counts in (("table", report.tables), ("model", report.models)):
        for name, rows in counts.items():
            table.add_row(kind, name, f"{rows:,}")
    return table


def _tests(tests: dict[str, str], failures: dict[str, int]) -> Table:
    table = Table(title="Tests", title_justify="left")
    table.add_column("Test", overflow="fold")
    table.add_column("Result")
    table.add_column("Rows found", justify="right", style="cyan")
    for name, status in tests.items():
        found = f"{failures[name]:,}" if name in failures else ""
        table.add_row(name, Text(status, style=_STATUS_STYLES.get(status, "")), found)
    return table


def _seconds(seconds: dict[str, float]) -> Table:
    table = Table(title="Seconds", title_justify="left")
    table.add_column("Phase")
    table.add_column("Seconds", justify="right", style="cyan")
    for phase, duration in seconds.items():
        table.add_row(phase, f"{duration:.1f}")
    return table


def _print_addresses(report: Report, console: Console) -> None:
    """Shows where to look; addresses are never broken into lines, so that they can be copied."""
    console.print("Where to look", style="italic")
    for title, value in (
        ("REST API", f"{report.api_url}/docs"),
        ("Dagster", report.dagster_url),
        ("Log in as", f"{report.email}  {report.password}"),
        ("Warehouse", report.warehouse_url),
        ("Source", report.source_url),
    ):
        console.print(Text.assemble((f"{title:<10}", "bold"), value), soft_wrap=True)
