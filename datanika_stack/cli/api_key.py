"""`datanika api-key`: API keys."""

from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import merge, read_object
from datanika_stack.cli.resources import ObjectFile, add_common_verbs, noun
from datanika_stack.cli.session import Session

COLLECTION = "api-keys"
app = noun("API keys, for programs and for Dagster's own command line.")
add_common_verbs(
    app, COLLECTION, columns=("id", "name", "scopes", "expires_at", "last_used_at", "created_at")
)


@api_command(app, "create")
def create(
    session: Session,
    name: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="A scope; may be repeated.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="ISO 8601 time, such as 2027-01-01T00:00:00Z.")
    ] = None,
    file: ObjectFile = None,
) -> Any:
    """Create a key; it is shown once."""
    body = merge(read_object(file), name=name, scopes=scopes, expires_at=expires_at)
    return session.client.post(session.path(COLLECTION), body)
