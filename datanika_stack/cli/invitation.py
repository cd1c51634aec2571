"""`datanika invitation`: who is asked to join, and joining."""

from itertools import islice
from typing import Annotated, Any

import httpx
import typer

from datanika_stack.api_client import ApiClient, ApiError, tokens_of
from datanika_stack.cli.command import api_command, orgless_command
from datanika_stack.cli.inputs import read_secret
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


@orgless_command(app, "accept")
def accept(
    session: Session,
    token_stdin: TokenStdin = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> Any:
    """Join with the link of an invitation or its token, and log in.

    A link says by itself which control plane it is for. Whoever is logged in there as the invited
    person needs no password.
    """
    link = read_secret("Invitation link or token", from_stdin=token_stdin, option="--token-stdin")
    token = session.open_link(link)
    shown = session.anonymous.post("/auth/invitations/show", {"token": token})
    is_given = password_stdin or password_file is not None
    if not is_given and shown["has_account"] and _is_logged_in(session, shown["email"]):
        answer = session.personal.post(ACCEPT, {"token": token})
    else:
        is_new = not shown["has_account"]
        # Says where it goes: the link decides that, and may be somebody's trick.
        prompt = "New password" if is_new else f"Password for {shown['email']} at {session.api_url}"
        password = read_secret(prompt, from_stdin=password_stdin, file=password_file, is_new=is_new)
        answer = _accept(session.anonymous, token, shown["email"], password, is_new=is_new)
    tokens = tokens_of(answer)
    login = Login(answer["user"]["email"], tokens.access_token, tokens.refresh_token, shown["org"])
    session.logins.save(session.api_url, login)
    return {"email": login.email, "org": shown["org"], "role": shown["role"]}


def _is_logged_in(session: Session, email: str) -> bool:
    """Tells whether the stored login is alive and of the person with this address."""
    if not session.login:
        return False
    try:
        me = session.personal.get("/auth/me")
    except ApiError as error:
        if error.status != httpx.codes.UNAUTHORIZED:
            raise
        return False
    return me["user"]["email"].lower() == email.lower()


def _accept(
    anonymous: ApiClient, token: str, email: str, password: str, *, is_new: bool
) -> dict[str, Any]:
    if is_new:
        return anonymous.post(ACCEPT, {"token": token, "password": password})
    # The link alone opens no account: its owner logs in.
    login = anonymous.post("/auth/login", {"email": email, "password": password})
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    return anonymous.post(ACCEPT, {"token": token}, headers=headers)
