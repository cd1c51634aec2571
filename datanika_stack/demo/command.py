"""`datanika demo`: the main job on real data, from an empty directory to tested tables."""

import json
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Never

import psycopg
import typer
from rich.console import Console
from rich.text import Text

from datanika_stack.api_client import ApiError
from datanika_stack.demo.airline import DataSetMissingError
from datanika_stack.demo.display import Display
from datanika_stack.demo.journey import DemoFailedError
from datanika_stack.demo.local_stack import LocalStack
from datanika_stack.demo.report import Report, print_report
from datanika_stack.demo.scenario import perform
from datanika_stack.errors import StackError
from datanika_stack.layout import Home
from datanika_stack.settings import ClientSettings

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_FAILURES = (
    DemoFailedError,
    ApiError,
    StackError,
    DataSetMissingError,
    TimeoutError,
    psycopg.Error,
)


def add_demo(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("demo")(demo)


def demo(
    home: Annotated[
        Path | None, typer.Option(help="Where the stack keeps its state; default .datanika.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the REST API, 8700; the next three are used too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    leave: Annotated[bool, typer.Option("--exit", help="End when the job is done.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running.")] = False,
) -> None:
    """Load, transform and test 336,776 real flights on a stack of your own.

    Starts the stack and a source database with real data, does everything else through the
    public REST API and shows the result. Stays up until Ctrl-C, which stops everything.
    """
    console = Console(stderr=as_json)
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell starts what runs in its background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stack: LocalStack | None = None
    try:
        stack = LocalStack.at(Home.at(home or ClientSettings().home), port)
        with Display(console) as display:
            report = perform(stack, display)
        _show(report, console, as_json=as_json)
        if not leave:
            _wait_for_interrupt(console)
    except _FAILURES as error:
        console.print(Text(f"The demo failed. {error}", style="red"), soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        if stack and not keep:
            _stop(stack, console)


def _show(report: Report, console: Console, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_object()))
    else:
        print_report(report, console)


def _wait_for_interrupt(console: Console) -> None:
    """Stays until Ctrl-C, which is the normal end here."""
    try:
        console.print("\nCtrl-C stops everything.", style="dim")
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print()


def _stop(stack: LocalStack, console: Console) -> None:
    # A second Ctrl-C would leave processes behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Display(console) as display, display.phase("stop", "Stopping everything"):
            stack.stop()
    except StackError as error:
        console.print(Text(f"Could not stop the stack. {error}", style="red"), soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> Never:
    raise KeyboardInterrupt
