"""`datanika login`, `logout` and `whoami`."""

from typing import Annotated, Any

import typer

from datanika_stack.api_client import ApiError, tokens_of
from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import read_secret
from datanika_stack.cli.logins import Login
from datanika_stack.cli.session import Session


def add_login(app: typer.Typer) -> None:
    """Adds the commands to the top level of `app`."""
    api_command(app, "login")(log_in)
    api_command(app, "logout")(log_out)
    api_command(app, "whoami")(who_am_i)


def log_in(
    session: Session,
    email: Annotated[str, typer.Option(prompt="E-mail", help="E-mail of the user.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> Any:
    """Log in and keep the tokens in a file that only you can read."""
    password = read_secret("Password", from_stdin=password_stdin)
    answer = session.anonymous.post("/auth/login", {"email": email, "password": password})
    tokens = tokens_of(answer)
    orgs = [org["slug"] for org in answer["orgs"]]
    login = Login(
        answer["user"]["email"],
        tokens.access_token,
        tokens.refresh_token,
        orgs[0] if len(orgs) == 1 else None,
    )
    session.logins.save(session.api_url, login)
    return {"email": login.email, "api_url": session.api_url, "orgs": orgs, "org": login.org}


def log_out(session: Session) -> Any:
    """End the login at the control plane and forget its tokens here."""
    if session.login:
        try:
            session.client.post("/auth/logout")
        except ApiError as error:
            if error.status not in (401, 403):
                raise
        session.logins.remove(session.api_url)
    return {"logged_in": False, "api_url": session.api_url}


def who_am_i(session: Session) -> Any:
    """Show whom the control plane takes this command line for."""
    return session.client.get("/auth/me")
