"""The commands that run a stack on this machine: up, down, status, env, and the parts of compose."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from datanika_stack import control
from datanika_stack.compose_env import compose_env, renewed
from datanika_stack.deployment import (
    migrate_deployment,
    serve_code_locations,
    serve_keys,
    serve_provisioner,
)
from datanika_stack.endpoints import text_of
from datanika_stack.errors import StackError
from datanika_stack.layout import Home
from datanika_stack.private_files import write_private
from datanika_stack.settings import StackSettings
from datanika_stack.stack_plan import StackPlan
from datanika_stack.state import SupervisorLock
from datanika_stack.supervisor import Supervisor

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The stack's directory [default: .datanika].")
]
_console = Console(stderr=True)


def add_stack(app: typer.Typer) -> None:
    """Adds the stack's commands to `app`."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(env)
    app.command()(migrate)
    app.command()(provisioner)
    app.command("code-servers")(code_servers)
    app.command("key-agent")(key_agent)
    app.command("compose-env")(print_compose_env)


def up(
    home: HomeOption = None,
    port: Annotated[
        int | None,
        typer.Option(help="Base port: REST API; the next three are Dagster UI and databases."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address that REST API and UI bind.")] = "127.0.0.1",
    detach: Annotated[bool, typer.Option("--detach", help="Return once the stack serves.")] = False,
) -> None:
    """Start the stack and keep it running until Ctrl-C or `datanika down`."""
    settings = StackSettings()
    place = Home.at(home or settings.home)
    try:
        base = control.port_of(place, port)
        if control.status_of(place).state != "stopped":
            _console.print(f"A stack is running already in {place.path}")
            _show(place, as_json=False)
            return
        plan = StackPlan.make(place, base, host, settings)
        for warning in (plan.isolation.in_words, *plan.warnings()):
            _progress_line(f"Note: {warning}.")
        if detach:
            arguments = ["--home", str(place.path), "--port", str(base), "--host", host]
            with _console.status("starting") as line:
                control.start_detached(place, arguments, lambda phase: _progress(line, phase))
            _show(place, as_json=False)
        else:
            _supervise(plan)
    except StackError as error:
        _fail(error)


def down(home: HomeOption = None) -> None:
    """Stop the stack; its data stay."""
    place = Home.at(home or StackSettings().home)
    try:
        stopped = control.stop(place)
    except StackError as error:
        _fail(error)
    _console.print("stopped" if stopped else f"no stack is running in {place.path}")


def status(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show what runs, and where."""
    _show(Home.at(home or StackSettings().home), as_json=as_json)


def env(home: HomeOption = None) -> None:
    """Print shell exports for the dagster command line; they hold the password of its storage.

    Use as: eval "$(datanika env)".
    """
    settings = StackSettings()
    place = Home.at(home or settings.home)
    try:
        if not place.secrets_file.exists():
            raise StackError(f"there is no stack in {place.path}: `datanika up` makes one")
        plan = StackPlan.make(place, control.port_of(place, None), "127.0.0.1", settings)
    except StackError as error:
        _fail(error)
    variables = {
        "DAGSTER_HOME": str(place.dagster_home),
        "DATANIKA_DAGSTER_STORAGE_URL": text_of(plan.endpoints.dagster),
        "DATANIKA_CONTROL_PLANE_URL": plan.api_url,
        "DATANIKA_HOME": str(place.path),
        "DATANIKA_WORKER_SOCKETS": str(place.worker_sockets_dir),
        "DBT_PROJECTS_DIR": str(plan.dbt_projects_dir),
    }
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def migrate() -> None:
    """Make or update databases, roles and schemas as the environment names them (compose)."""
    _deployed(lambda: migrate_deployment(StackSettings(), _progress_line))


def provisioner() -> None:
    """Serve requests for warehouses on DATANIKA_PROVISIONER_SOCKET (compose)."""
    _deployed(lambda: serve_provisioner(StackSettings()))


def code_servers() -> None:
    """Keep one code server per org, and Dagster's workspace file (compose)."""
    _deployed(lambda: serve_code_locations(StackSettings()))


def key_agent() -> None:
    """Keep the unlocked keys in memory, behind DATANIKA_KEY_AGENT_SOCKET (compose)."""
    _deployed(lambda: serve_keys(StackSettings()))


def print_compose_env(
    renew: Annotated[
        Path | None,
        typer.Option(
            help="Renew the service tokens in this file and add what this version needs; print nothing."
        ),
    ] = None,
) -> None:
    """Print a .env for docker-compose.yml with a fresh set of secrets."""
    if renew is None:
        typer.echo(compose_env(), nl=False)
        return
    try:
        write_private(renew, renewed(renew.read_text()))
    except OSError as error:
        _fail(StackError(f"cannot renew {renew}: {error.strerror}"))
    except StackError as error:
        _fail(error)


def _supervise(plan: StackPlan) -> None:
    lock = SupervisorLock(plan.home)
    if not lock.acquire():
        raise StackError(f"a stack is starting already in {plan.home.path}")
    try:
        Supervisor(plan, _progress_line).run()
    finally:
        lock.release()


def _show(home: Home, *, as_json: bool) -> None:
    found = control.status_of(home)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    console = Console()
    console.print(f"[bold]{found.state}[/bold]  {home.path}")
    if found.state == "stopped":
        return
    if found.hint:
        console.print(f"[yellow]{found.hint}[/yellow]")
    console.print(f"REST API   {found.api_url}/docs\nDagster UI {found.dagster_url}")
    reason = f" ({found.isolation_reason})" if found.isolation_reason else ""
    console.print(f"isolation  {found.isolation}{reason}", highlight=False, soft_wrap=True)
    table = Table("process", "pid", "state", "restarts", "started at", "ended because", box=None)
    for entry in found.processes:
        table.add_row(*(Text("" if value is None else str(value)) for value in entry.values()))
    console.print(table)


def _progress(line: Status, phase: str) -> None:
    """Shows a phase: on a terminal in the status line, elsewhere as a line of its own."""
    line.update(phase)
    if not _console.is_terminal:
        _progress_line(phase)


def _progress_line(phase: str) -> None:
    _console.print(phase, highlight=False, soft_wrap=True)


def _deployed(run: Callable[[], None]) -> None:
    try:
        run()
    except StackError as error:
        _fail(error)


def _fail(error: StackError) -> NoReturn:
    _console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
    raise typer.Exit(1)
