"""`datanika run`: launch, watch and stop runs."""

import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import typer
from rich.text import Text

from datanika_stack.cli.command import CommandFailedError, api_command
from datanika_stack.cli.output import console, error_console, show, styled
from datanika_stack.cli.resources import DEFAULT_LIMIT, Limit, noun
from datanika_stack.cli.session import Session
from datanika_stack.cli.targets import find_target
from datanika_stack.run_following import SUCCESS, follow_logs, follow_run, read_logs

COLLECTION = "runs"
RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="Id of the run, as Dagster has it.")]
app = noun("Runs: launch, list, watch, cancel, retry.")


@api_command(app, "launch")
def launch(
    session: Session,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TYPE:NAME", help="upload:NAME or transformation:NAME; all if none."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the log; exit with 1 if the run fails.")
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key never launches twice.")
    ] = None,
    priority: Annotated[
        int, typer.Option(min=-10, max=10, help="Among your own queued runs; the highest first.")
    ] = 0,
) -> Any:
    """Launch what is published: everything, or the given uploads and models."""
    found = [find_target(session, text) for text in targets or []]
    targets_of_run = [{"type": kind, "id": number} for kind, number in found]
    body = {"targets": targets_of_run, "priority": priority}
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    run = session.client.post(session.path(COLLECTION), body, headers=headers)
    return _followed(session, run["id"]) if follow else run


@api_command(app, "list", columns=("id", "status", "trigger", "created_at", "ended_at", "error"))
def list_all(
    session: Session,
    status: Annotated[str | None, typer.Option(help="Only runs in this status.")] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Any:
    """List runs, the newest first."""
    params = {"status": status} if status else {}
    return list(islice(session.client.pages(session.path(COLLECTION), params), limit))


@api_command(app, "get")
def get_one(session: Session, run_id: RunId) -> Any:
    """Show a run with its tables, models, tests and steps."""
    return session.client.get(session.path(COLLECTION, run_id))


@api_command(app, "logs", columns=("timestamp", "level", "step", "message"))
def logs(
    session: Session,
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until the run has ended.")] = False,
) -> Any:
    """Show a run's log."""
    if follow:
        return _followed(session, run_id)
    lines = read_logs(session.client, session.path(COLLECTION, run_id))
    if session.as_json:
        return list(lines)
    _print_lines(lines)
    return None


@api_command(app, "cancel")
def cancel(session: Session, run_id: RunId) -> Any:
    """Ask a run to stop."""
    return session.client.post(session.path(COLLECTION, run_id, "cancel"))


@api_command(app, "retry")
def retry(
    session: Session,
    run_id: RunId,
    is_whole: Annotated[
        bool, typer.Option("--all", help="Do all of it again, not only what failed.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the log; exit with 1 if the run fails.")
    ] = False,
) -> Any:
    """Do a run again, with what is published now: what failed and what comes after it."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"from_failure": not is_whole}
    run = session.client.post(session.path(COLLECTION, run_id, "retry"), body, headers=headers)
    return _followed(session, run["id"]) if follow else run


def _followed(session: Session, run_id: str) -> Any:
    """Shows the log until the run has ended; a run that did not succeed fails the command."""
    path = session.path(COLLECTION, run_id)
    if session.as_json:
        run = follow_run(session.client, path)
    else:
        _print_lines(follow_logs(session.client, path))
        run = session.client.get(path)
    if run["status"] != SUCCESS:
        if session.as_json:
            show(run, columns=(), as_json=True)
        else:
            error_console.print(Text(f"Run {run_id}: {run['status']}. {run.get('error') or ''}"))
        raise CommandFailedError
    return run if session.as_json else {"id": run_id, "status": run["status"]}


def _print_lines(lines: Iterator[dict[str, Any]]) -> None:
    for line in lines:
        level = styled(line["level"])
        console.print(
            Text(str(line["timestamp"]), style="dim"),
            level,
            Text(line.get("step") or "", style="cyan"),
            Text(line["message"]),
            soft_wrap=True,
        )
