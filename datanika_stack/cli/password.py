"""`datanika password`: the user's own password."""

from typing import Annotated, Any

import typer

from datanika_stack.cli.command import orgless_command
from datanika_stack.cli.inputs import read_secret
from datanika_stack.cli.resources import noun
from datanika_stack.cli.secret_options import (
    CurrentPasswordFile,
    NewPasswordFile,
    PasswordFile,
    PasswordsStdin,
    PasswordStdin,
    TokenStdin,
)
from datanika_stack.cli.session import Session

app = noun("Passwords: change yours, or get back in without it.")
Email = Annotated[str, typer.Argument(help="E-mail of the user.")]


@orgless_command(app, "change")
def change(
    session: Session,
    password_stdin: PasswordsStdin = False,
    current_password_file: CurrentPasswordFile = None,
    new_password_file: NewPasswordFile = None,
) -> Any:
    """Change your password; your other sessions end."""
    current = read_secret("Current password", from_stdin=password_stdin, file=current_password_file)
    new = read_secret(
        "New password", from_stdin=password_stdin, file=new_password_file, is_new=True
    )
    session.client.post("/auth/password", {"current_password": current, "new_password": new})
    return {"changed": True}


@orgless_command(app, "forgotten")
def forgotten(session: Session, email: Email) -> Any:
    """Ask for a link by mail; the answer is the same whether the user exists or not."""
    return session.anonymous.post("/auth/password-resets", {"email": email})


@orgless_command(app, "reset")
def reset(
    session: Session,
    token_stdin: TokenStdin = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> Any:
    """Set a new password with a link or its token; every session ends.

    A link says by itself which control plane it is for.
    """
    link = read_secret("Reset link or token", from_stdin=token_stdin, option="--token-stdin")
    token = session.open_link(link)
    new = read_secret("New password", from_stdin=password_stdin, file=password_file, is_new=True)
    session.anonymous.post("/auth/password-resets/redeem", {"token": token, "new_password": new})
    return {"changed": True}


@orgless_command(app, "reset-link")
def reset_link(session: Session, email: Email) -> Any:
    """Make the link with which a user sets a new password. For operators."""
    return session.client.post("/system/password-resets", {"email": email})
