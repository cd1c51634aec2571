"""`datanika deleted`: what was deleted and can be restored."""

from itertools import islice
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import UsageError, merge
from datanika_stack.cli.resources import DEFAULT_LIMIT, Limit, noun
from datanika_stack.cli.session import Session

app = noun("Deleted resources: list and restore; for admins.")
COLLECTIONS = {
    "connection": "connections",
    "upload": "uploads",
    "transformation": "transformations",
    "dependency": "dependencies",
    "schedule": "schedules",
    "freshness_policy": "freshness-policies",
}


@api_command(app, "list", columns=("resource_type", "id", "name", "deleted_at"))
def list_all(
    session: Session,
    resource_type: Annotated[str | None, typer.Option(help="Only this kind.")] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Any:
    """List what was deleted, the latest first."""
    filters = merge({}, resource_type=resource_type)
    return list(islice(session.client.pages(session.path("deleted"), filters), limit))


@api_command(app, "restore")
def restore(
    session: Session,
    reference: Annotated[str, typer.Argument(metavar="TYPE:ID", help="As `list` shows them.")],
) -> Any:
    """Restore something deleted; refused where another one has its name by now."""
    kind, _, number = reference.partition(":")
    if kind not in COLLECTIONS or not number.isdecimal():
        raise UsageError(f"'{reference}' is none; write TYPE:ID, with {', '.join(COLLECTIONS)}.")
    return session.client.post(session.path(COLLECTIONS[kind], number, "restore"))
