"""`datanika publish` and `datanika manifest`: from definitions to what Dagster runs."""

import time
from typing import Annotated, Any

import typer

from datanika_stack.api_client import ApiClient
from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import UsageError
from datanika_stack.cli.session import Session

LIVE = "live"
DEFAULT_LIVE_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.3


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
        if not wait_until_live(session.client, path, timeout_seconds=timeout_seconds):
            raise UsageError(f"Dagster has not loaded the manifest within {timeout_seconds:g} s.")
    return answer


def show_manifest(session: Session) -> Any:
    """Show the published manifest's hash and whether Dagster has loaded it."""
    return session.client.get(session.path("manifest"))


def wait_until_live(client: ApiClient, path: str, *, timeout_seconds: float) -> bool:
    """Waits until Dagster has loaded the published manifest.

    Args:
        client: The API.
        path: Path of the org's manifest.
        timeout_seconds: How long to wait.

    Returns:
        False when the time was over first.
    """
    deadline = time.monotonic() + timeout_seconds
    while client.get(path)["state"] != LIVE:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
