"""`datanika dependency`: what must be done before what."""

from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import read_object
from datanika_stack.cli.resources import ObjectFile, add_common_verbs, noun
from datanika_stack.cli.session import Session
from datanika_stack.cli.targets import target_fields

COLLECTION = "dependencies"
Node = typer.Option(metavar="TYPE:NAME", help="upload:NAME or transformation:NAME.")
app = noun("Dependencies: which upload or model must be done before which.")
add_common_verbs(
    app,
    COLLECTION,
    columns=("id", "upstream_type", "upstream_id", "downstream_type", "downstream_id"),
)


@api_command(app, "create")
def create(
    session: Session,
    upstream: Annotated[str | None, Node] = None,
    downstream: Annotated[str | None, Node] = None,
    file: ObjectFile = None,
) -> Any:
    """Put one upload or model before another."""
    body = (
        read_object(file)
        | target_fields(session, upstream, "upstream")
        | target_fields(session, downstream, "downstream")
    )
    return session.client.post(session.path(COLLECTION), body)
