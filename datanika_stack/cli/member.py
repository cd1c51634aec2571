"""`datanika member`: who belongs to the organization, and as what."""

from typing import Annotated, Any

import typer

from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import UsageError
from datanika_stack.cli.resources import noun
from datanika_stack.cli.session import Session

app = noun("Members: who belongs to the organization, and as what.")
Member = Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail or user id.")]


@api_command(app, "list", columns=("user_id", "email", "role"))
def list_all(session: Session) -> Any:
    """List the members."""
    return list(session.client.pages(session.path("members")))


@api_command(app, "role")
def change_role(
    session: Session,
    member: Member,
    role: Annotated[str, typer.Argument(help="viewer, editor, admin or owner.")],
) -> Any:
    """Give a member another role; only owners make or unmake owners."""
    user_id = _find(session, member)["user_id"]
    return session.client.patch(session.path("members", user_id), {"role": role})


@api_command(app, "remove")
def remove(session: Session, member: Member) -> Any:
    """Remove a member; the last owner stays."""
    found = _find(session, member)
    session.client.delete(session.path("members", found["user_id"]))
    return {"removed": found["email"]}


@api_command(app, "leave")
def leave(session: Session) -> Any:
    """Leave the organization oneself; the last owner cannot."""
    session.client.post(session.path("members", "leave"))
    return {"left": session.org}


def _find(session: Session, reference: str) -> dict[str, Any]:
    rows = list(session.client.pages(session.path("members")))
    for row in rows:
        if reference.lower() in (row["email"].lower(), str(row["user_id"])):
            return row
    known = ", ".join(row["email"] for row in rows)
    raise UsageError(f"'{reference}' is no member; there are: {known}.")
