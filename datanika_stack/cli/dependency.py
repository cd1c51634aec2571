"""`datanika dependency`: what must be done before what."""

from itertools import islice
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import merge, read_object
from datanika_stack.cli.resources import (
    DEFAULT_LIMIT,
    Limit,
    ObjectFile,
    Reference,
    add_common_verbs,
    noun,
)
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


Trigger = Annotated[
    bool | None,
    typer.Option("--trigger/--no-trigger", help="Whether each success launches what comes after."),
]
FreshWithin = Annotated[
    int | None,
    typer.Option(help="Only where all that it waits for have succeeded within so many seconds."),
]


@api_command(app, "create")
def create(
    session: Session,
    upstream: Annotated[str | None, Node] = None,
    downstream: Annotated[str | None, Node] = None,
    trigger: Trigger = None,
    fresh_within: FreshWithin = None,
    file: ObjectFile = None,
) -> Any:
    """Put one upload or model before another."""
    body = (
        merge(read_object(file), runs_after_success=trigger, fresh_within_seconds=fresh_within)
        | target_fields(session, upstream, "upstream")
        | target_fields(session, downstream, "downstream")
    )
    return session.client.post(session.path(COLLECTION), body)


@api_command(app, "update")
def update(
    session: Session,
    reference: Reference,
    trigger: Trigger = None,
    fresh_within: FreshWithin = None,
) -> Any:
    """Change whether a success launches what comes after it."""
    found = session.find(COLLECTION, reference)
    body = merge({}, runs_after_success=trigger, fresh_within_seconds=fresh_within)
    return session.client.patch(session.path(COLLECTION, found["id"]), body)


@api_command(app, "reactions")
def list_reactions(session: Session, reference: Reference, limit: Limit = DEFAULT_LIMIT) -> Any:
    """List what successes have launched, the latest first."""
    found = session.find(COLLECTION, reference)
    path = session.path(COLLECTION, found["id"], "reactions")
    return list(islice(session.client.pages(path), limit))
