"""`datanika login`, `logout` and `whoami`."""

from typing import Annotated, Any

import httpx
import typer

from datanika_stack.api_client import ApiClient, ApiError, Tokens, tokens_of
from datanika_stack.cli.command import orgless_command
from datanika_stack.cli.inputs import read_secret
from datanika_stack.cli.logins import Login
from datanika_stack.cli.session import Session


def add_login(app: typer.Typer) -> None:
    """Adds the commands to the top level of `app`."""
    orgless_command(app, "login")(log_in)
    orgless_command(app, "logout")(log_out)
    orgless_command(app, "whoami")(who_am_i)


def log_in(
    session: Session,
    email: Annotated[str, typer.Option(prompt="E-mail", help="E-mail of the user.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> Any:
    """Log in and keep the tokens in a file that only you can read."""
    password = read_secret("Password", from_stdin=password_stdin)
    answer = _ask(session, email, password)
    tokens = tokens_of(answer)
    orgs = [org["slug"] for org in answer["orgs"]]
    org = orgs[0] if len(orgs) == 1 else _current_org(session, tokens)
    login = Login(answer["user"]["email"], tokens.access_token, tokens.refresh_token, org)
    session.logins.save(session.api_url, login)
    return {"email": login.email, "api_url": session.api_url, "orgs": orgs, "org": login.org}


def log_out(session: Session) -> Any:
    """End the login at the control plane and forget its tokens here."""
    if session.login:
        try:
            session.personal.post("/auth/logout")
        except ApiError as error:
            if error.status not in (401, 403):
                raise
        session.logins.remove(session.api_url)
    return {"logged_in": False, "api_url": session.api_url}


def who_am_i(session: Session) -> Any:
    """Show whom the control plane takes this command line for."""
    return session.client.get("/auth/me")


def _ask(session: Session, email: str, password: str) -> dict[str, Any]:
    try:
        return session.anonymous.post("/auth/login", {"email": email, "password": password})
    except ApiError as error:
        if error.status != httpx.codes.UNAUTHORIZED:
            raise
        # Said to everybody: whether the account exists, and has a password, is nobody's business.
        raise ApiError(
            error.status,
            error.code,
            f"{error.detail} Who has no password yet (sign-in by Google or GitHub), or has "
            f"forgotten it, gets one with `datanika password forgotten {email}`.",
            trace_id=error.trace_id,
        ) from None


def _current_org(session: Session, tokens: Tokens) -> str | None:
    """Returns the org that the new login works in, as the control plane has it."""
    with ApiClient(session.api_url, tokens=tokens) as client:
        return client.get("/auth/me")["current_org"]
