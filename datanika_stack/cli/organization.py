"""`datanika org`: the organizations of the user."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from datanika_stack.api_client import tokens_of
from datanika_stack.cli.command import api_command, orgless_command
from datanika_stack.cli.confirmation import Yes, confirm
from datanika_stack.cli.inputs import UsageError, read_secret
from datanika_stack.cli.logins import Login
from datanika_stack.cli.resources import noun
from datanika_stack.cli.session import Session

app = noun("Organizations: sign up, show, choose, change.")


@orgless_command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Option(help="Name of the new organization.")],
    email: Annotated[str, typer.Option(prompt="E-mail", help="E-mail of its owner.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> Any:
    """Sign up: make an organization and its owner, and log in."""
    password = read_secret("New password", from_stdin=password_stdin, is_new=True)
    body = {"email": email, "password": password, "org_name": name}
    answer = session.anonymous.post("/auth/signup", body)
    tokens = tokens_of(answer)
    login = Login(
        answer["user"]["email"], tokens.access_token, tokens.refresh_token, answer["org"]["slug"]
    )
    session.logins.save(session.api_url, login)
    return answer["org"]


@orgless_command(app, "list", columns=("slug", "name", "role"))
def list_all(session: Session) -> Any:
    """List the organizations that the caller belongs to."""
    return session.client.get("/auth/me")["orgs"]


@api_command(app, "get")
def get_one(session: Session) -> Any:
    """Show the organization that commands work on."""
    return session.client.get(session.path())


@orgless_command(app, "use")
def use(session: Session, slug: Annotated[str, typer.Argument(help="Slug of the org.")]) -> Any:
    """Choose the organization that commands work on from now on."""
    if not session.login:
        raise UsageError("Not logged in; with an API key, set DATANIKA_ORG.")
    org = session.client.get(f"/orgs/{slug}")
    # The session's org, which other programs with this login go by, too.
    session.client.post("/auth/switch", {"org": slug})
    session.logins.save(session.api_url, replace(session.login, org=slug))
    return org


@api_command(app, "update")
def update(
    session: Session, name: Annotated[str, typer.Option(help="Its new name; the slug stays.")]
) -> Any:
    """Rename the organization."""
    return session.client.patch(session.path(), {"name": name})


@orgless_command(app, "delete")
def delete(
    session: Session,
    slug: Annotated[str, typer.Argument(help="Slug of the organization, to be sure.")],
    destroy_keys: Annotated[
        bool,
        typer.Option(
            "--destroy-keys", help="Destroy its secrets for good; restoring it does not help."
        ),
    ] = False,
    yes: Yes = False,
) -> Any:
    """Delete an organization; an operator can restore it. For owners."""
    if destroy_keys:
        confirm(f"Destroy every secret of '{slug}' for good?", yes=yes)
    parameters = {"confirm": slug, "destroy_keys": str(destroy_keys).lower()}
    session.client.delete(f"/orgs/{slug}", parameters)
    return {"deleted": slug, "keys_destroyed": destroy_keys}
