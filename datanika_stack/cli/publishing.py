"""`datanika publish` and `datanika manifest`: from definitions to what Dagster runs."""

from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import UsageError
from datanika_stack.cli.session import Session
from datanika_stack.polling import wait_for

LIVE = "live"
DEFAULT_LIVE_TIMEOUT_SECONDS = 60.0


def add_publishing(app: typer.Typer) -> None:
    """Adds the commands to the top level of `app`."""
    api_command(app, "publish")(publish)
    api_command(app, "manifest")(show_manifest)


def publish(
    session: Session,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when Dagster has loaded the manifest.")
    ] = False,
    timeout_seconds: Annotated[
        float, typer.Option(help="How long --wait waits.")
    ] = DEFAULT_LIVE_TIMEOUT_SECONDS,
) -> Any:
    """Validate the definitions and hand them to Dagster as an immutable manifest."""
    answer = session.client.post(session.path("publish"))
    if wait:
        path = session.path("manifest")
        is_live = wait_for(
            lambda: session.client.get(path)["state"] == LIVE, timeout_seconds=timeout_seconds
        )
        if not is_live:
            raise UsageError(f"Dagster has not loaded the manifest within {timeout_seconds:g} s.")
    return answer


def show_manifest(session: Session) -> Any:
    """Show the published manifest's hash and whether Dagster has loaded it."""
    return session.client.get(session.path("manifest"))
