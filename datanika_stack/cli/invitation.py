"""`datanika invitation`: who is asked to join, and joining."""

import sys
from itertools import islice
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer

from datanika_stack.api_client import ApiClient, tokens_of
from datanika_stack.cli.command import api_command
from datanika_stack.cli.inputs import UsageError, read_secret
from datanika_stack.cli.logins import Login
from datanika_stack.cli.resources import DEFAULT_LIMIT, Limit, noun
from datanika_stack.cli.secret_options import PasswordFile, PasswordStdin, TokenStdin
from datanika_stack.cli.session import Session

COLLECTION = "invitations"
ACCEPT = "/auth/invitations/accept"
app = noun("Invitations: ask people to join, and join.")
Reference = Annotated[int, typer.Argument(metavar="ID", help="Id of the invitation.")]


@api_command(app, "create")
def create(
    session: Session,
    email: Annotated[str, typer.Argument(help="Whom to invite.")],
    role: Annotated[str, typer.Option(help="viewer, editor, admin or owner.")] = "viewer",
) -> Any:
    """Invite somebody; where no mail server is set, the answer has the link, once."""
    return session.client.post(session.path(COLLECTION), {"email": email, "role": role})


@api_command(app, "list", columns=("id", "email", "role", "created_at", "expires_at"))
def list_all(session: Session, limit: Limit = DEFAULT_LIMIT) -> Any:
    """List the invitations that nobody has accepted yet."""
    return list(islice(session.client.pages(session.path(COLLECTION)), limit))


@api_command(app, "revoke")
def revoke(session: Session, invitation: Reference) -> Any:
    """Take an invitation back; its link is useless at once."""
    session.client.delete(session.path(COLLECTION, invitation))
    return {"revoked": invitation}


@api_command(app, "renew")
def renew(session: Session, invitation: Reference) -> Any:
    """Make a new link; the one before is useless at once."""
    return session.client.post(session.path(COLLECTION, invitation, "renew"))


@api_command(app, "accept")
def accept(
    session: Session,
    token_stdin: TokenStdin = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> Any:
    """Join with the token or link of an invitation, and log in."""
    token = token_of(read_secret("Invitation", from_stdin=token_stdin))
    shown = session.anonymous.post("/auth/invitations/show", {"token": token})
    is_given = password_stdin or password_file is not None or sys.stdin.isatty()
    if shown["has_account"] and not is_given:
        # As whoever is logged in; the control plane says if that is not the invited person.
        answer = session.client.post(ACCEPT, {"token": token})
    else:
        is_new = not shown["has_account"]
        password = read_secret(
            "Password", from_stdin=password_stdin, file=password_file, is_new=is_new
        )
        answer = _accept(session.anonymous, token, shown["email"], password, is_new=is_new)
    tokens = tokens_of(answer)
    login = Login(answer["user"]["email"], tokens.access_token, tokens.refresh_token, shown["org"])
    session.logins.save(session.api_url, login)
    return {"email": login.email, "org": shown["org"], "role": shown["role"]}


def _accept(
    anonymous: ApiClient, token: str, email: str, password: str, *, is_new: bool
) -> dict[str, Any]:
    if is_new:
        return anonymous.post(ACCEPT, {"token": token, "password": password})
    # The link alone opens no account: its owner logs in.
    login = anonymous.post("/auth/login", {"email": email, "password": password})
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    return anonymous.post(ACCEPT, {"token": token}, headers=headers)


def token_of(text: str) -> str:
    """Returns the token in a link, or the text where it is no link.

    Raises:
        UsageError: The link has none.
    """
    if "://" not in text:
        return text.strip()
    parts = urlsplit(text.strip())
    for values in (parse_qs(parts.fragment), parse_qs(parts.query)):
        if values.get("token"):
            return values["token"][0]
    raise UsageError("The link holds no token.")
