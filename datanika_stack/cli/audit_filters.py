"""What every reading of an audit log can be narrowed by, and its export."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from datanika_stack.cli.inputs import merge
from datanika_stack.cli.session import Session

COLUMNS = ("occurred_at", "actor_name", "action", "resource_type", "resource_id", "ip_address")


@dataclass(frozen=True)
class AuditFilters:
    """The filters, as options."""

    action: Annotated[str | None, typer.Option(help="Only this action.")] = None
    resource_type: Annotated[str | None, typer.Option(help="Only this kind of resource.")] = None
    resource_id: Annotated[str | None, typer.Option(help="Only this resource.")] = None
    user_id: Annotated[int | None, typer.Option(help="Only what this user did.")] = None
    actor_kind: Annotated[
        str | None, typer.Option(help="Only what a user, an API key or the system did.")
    ] = None
    since: Annotated[str | None, typer.Option(help="ISO 8601 time; from then on.")] = None
    until: Annotated[str | None, typer.Option(help="ISO 8601 time; before then.")] = None

    def parameters(self) -> dict[str, Any]:
        """Returns the query of the request."""
        return merge({}, **vars(self))


def export(session: Session, path: str, filters: AuditFilters) -> Iterator[str]:
    """Yields the lines of an export, one JSON object each."""
    return session.client.lines(path, filters.parameters())
