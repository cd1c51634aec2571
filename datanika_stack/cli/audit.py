"""`datanika audit`: who did what."""

from itertools import islice
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import merge
from datanika_stack.cli.resources import DEFAULT_LIMIT, Limit, noun
from datanika_stack.cli.session import Session

app = noun("The audit log: who did what; for admins.")
COLUMNS = ("occurred_at", "actor_name", "action", "resource_type", "resource_id", "ip_address")


@api_command(app, "list", columns=COLUMNS)
def list_all(
    session: Session,
    action: Annotated[str | None, typer.Option(help="Only this action.")] = None,
    resource_type: Annotated[str | None, typer.Option(help="Only this kind of resource.")] = None,
    user_id: Annotated[int | None, typer.Option(help="Only what this user did.")] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Any:
    """List what was done in the organization, the newest first."""
    filters = merge({}, action=action, resource_type=resource_type, user_id=user_id)
    return list(islice(session.client.pages(session.path("audit"), filters), limit))
