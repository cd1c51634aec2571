"""`datanika warehouse`: the org's managed warehouse."""

from typing import Any

from datanika_stack.cli.command import api_command
from datanika_stack.cli.resources import noun
from datanika_stack.cli.session import Session

app = noun("The managed warehouse: a PostgreSQL database of the org's own.")


@api_command(app, "get")
def get_one(session: Session) -> Any:
    """Show where the warehouse is and whether it is ready."""
    return session.client.get(session.path("warehouse"))


@api_command(app, "credentials")
def credentials(session: Session) -> Any:
    """Make a fresh read-only login for people and BI tools; the one before stops working."""
    return session.client.post(session.path("warehouse", "credentials"))
