"""`datanika audit`: who did what."""

from itertools import islice
from typing import Any

import typer

from datanika_stack.cli.audit_filters import COLUMNS, AuditFilters, export
from datanika_stack.cli.command import NO_OUTPUT, api_command
from datanika_stack.cli.resources import DEFAULT_LIMIT, Limit, noun
from datanika_stack.cli.session import Session

app = noun("The audit log: who did what; for admins.")


@api_command(app, "list", columns=COLUMNS)
def list_all(session: Session, filters: AuditFilters, limit: Limit = DEFAULT_LIMIT) -> Any:
    """List what was done in the organization, the newest first."""
    return list(islice(session.client.pages(session.path("audit"), filters.parameters()), limit))


@api_command(app, "export")
def export_all(session: Session, filters: AuditFilters) -> Any:
    """Write the whole log to standard output, one JSON object per line."""
    for line in export(session, session.path("audit", "export"), filters):
        typer.echo(line)
    return NO_OUTPUT
