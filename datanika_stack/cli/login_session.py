"""`datanika session`: where the user is logged in."""

from itertools import islice
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import orgless_command
from datanika_stack.cli.resources import DEFAULT_LIMIT, Limit, noun
from datanika_stack.cli.session import Session

app = noun("Sessions: where you are logged in.")
COLUMNS = ("id", "created_at", "expires_at", "ip_address", "user_agent", "is_current")


@orgless_command(app, "list", columns=COLUMNS)
def list_all(session: Session, limit: Limit = DEFAULT_LIMIT) -> Any:
    """List your sessions."""
    return list(islice(session.client.pages("/auth/sessions"), limit))


@orgless_command(app, "end")
def end(
    session: Session, session_id: Annotated[str, typer.Argument(help="Id of the session.")]
) -> Any:
    """End one of your sessions, wherever it is."""
    session.client.delete(f"/auth/sessions/{session_id}")
    return {"ended": session_id}
