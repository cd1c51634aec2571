"""The commands about worker hosts: what runs on them, and replacing them without ending it."""

import json
import time
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from datanika_dagster.launcher.host import client
from datanika_stack.cli.stack import HomeOption
from datanika_stack.layout import Home
from datanika_stack.settings import StackSettings
from datanika_stack.worker_hosts import request_restart

_START_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.2
_console = Console(stderr=True)


def add_workers(app: typer.Typer) -> None:
    """Adds the group `workers` to `app`."""
    group = typer.Typer(
        name="workers", help="The worker hosts of a local stack.", no_args_is_help=True
    )
    group.command("list")(list_)
    group.command("restart")(restart)
    app.add_typer(group)


def list_(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the worker hosts and what runs on them."""
    hosts = client.hosts_in(_sockets(home))
    if as_json:
        typer.echo(json.dumps([dict(host.info) for host in hosts], indent=2))
        return
    table = Table("host", "pid", "state", "runs", "jobs", "isolation", box=None)
    for host in hosts:
        roles = [child["role"] for child in host.children]
        state = "draining" if host.is_draining else "serving"
        runs, jobs = str(roles.count("run")), str(roles.count("job"))
        pid, level = str(host.info["pid"]), str(host.info["isolation"]["level"])
        table.add_row(host.name, pid, state, runs, jobs, level)
    Console().print(table)


def restart(home: HomeOption = None) -> None:
    """Start another worker host, and end those before it when their runs have ended."""
    sockets = _sockets(home)
    before = {host.info["pid"] for host in client.hosts_in(sockets)}
    if not before:
        _fail(f"no worker host listens in {sockets}")
    if sockets != _place(home).worker_sockets_dir:
        _fail(
            f"the worker hosts in {sockets} are kept by no `datanika up`: start another one there, "
            "then send SIGTERM to those before it (docs/operations.md, worker hosts)"
        )
    request_restart(sockets)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        serving = {host.info["pid"] for host in client.hosts_in(sockets) if not host.is_draining}
        if serving and not serving & before:
            _console.print("Restarted; runs that are on their way go on.")
            return
        time.sleep(_POLL_SECONDS)
    _fail("the new worker host does not serve; see `worker_host_*.log` in the stack's logs")


def _place(home: Path | None) -> Home:
    return Home.at(home or StackSettings().home)


def _sockets(home: Path | None) -> Path:
    """Returns where the hosts listen: in the home that was asked for, else as the environment says."""
    given = StackSettings().worker_sockets if home is None else None
    return given or _place(home).worker_sockets_dir


def _fail(message: str) -> NoReturn:
    _console.print(f"[bold red]error:[/bold red] {message}", soft_wrap=True)
    raise typer.Exit(1)
