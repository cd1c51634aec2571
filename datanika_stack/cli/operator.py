"""`datanika operator`: who runs the platform."""

from typing import Annotated, Any

import typer

from datanika_stack.cli.command import orgless_command
from datanika_stack.cli.inputs import UsageError
from datanika_stack.cli.resources import noun
from datanika_stack.cli.session import Session

app = noun("Platform operators: who unlocks, suspends organizations and sees the deployment.")
PATH = "/system/operators"


@orgless_command(app, "list", columns=("id", "email"))
def list_all(session: Session) -> Any:
    """List the operators."""
    return session.client.get(PATH)["data"]


@orgless_command(app, "add")
def add(
    session: Session, email: Annotated[str, typer.Argument(help="E-mail of an existing user.")]
) -> Any:
    """Make a user an operator; hand over the link, if there is one.

    Of a user whose e-mail address nobody has proven, password, sessions and API keys end, and the
    link sets a new password.
    """
    return session.client.post(PATH, {"email": email})


@orgless_command(app, "remove")
def remove(
    session: Session, email: Annotated[str, typer.Argument(help="E-mail or id of an operator.")]
) -> Any:
    """Take a user's operator rights; the last operator stays."""
    rows = session.client.get(PATH)["data"]
    for row in rows:
        if email.lower() in (row["email"].lower(), str(row["id"])):
            session.client.delete(f"{PATH}/{row['id']}")
            return {"removed": row["email"]}
    raise UsageError(f"'{email}' is no operator; there are: {', '.join(r['email'] for r in rows)}.")
