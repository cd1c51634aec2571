"""The verbs that every resource of an org has: list, get and delete."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.session import Session

Reference = Annotated[str, typer.Argument(metavar="REF", help="Id, slug or name.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many rows.")]
ObjectFile = Annotated[
    str | None, typer.Option("--file", help="The whole object as JSON; - reads standard input.")
]
ConfigFile = Annotated[str | None, typer.Option(help="The config as JSON; - reads standard input.")]

DEFAULT_LIMIT = 100


def noun(help_text: str) -> typer.Typer:
    """Makes the group of commands of one noun."""
    return typer.Typer(help=help_text, no_args_is_help=True)


def add_common_verbs(app: typer.Typer, collection: str, *, columns: Sequence[str]) -> None:
    """Adds `list`, `get` and `delete` for the resources under `/orgs/{org}/{collection}`.

    Args:
        app: The noun.
        collection: The last part of the path.
        columns: What the list shows to people.
    """

    def list_all(session: Session, limit: Limit = DEFAULT_LIMIT) -> Any:
        return list(islice(session.client.pages(session.path(collection)), limit))

    def get_one(session: Session, reference: Reference) -> Any:
        return session.find(collection, reference)

    def delete_one(session: Session, reference: Reference) -> Any:
        found = session.find(collection, reference)
        session.client.delete(session.path(collection, found["id"]))
        return {"deleted": found["id"]}

    for verb, function in (("list", list_all), ("get", get_one), ("delete", delete_one)):
        function.__doc__ = f"{verb.capitalize()} {collection if verb == 'list' else 'one'}."
        api_command(app, verb, columns=columns)(function)
