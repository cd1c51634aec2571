"""`datanika unlock`, `seal` and `keys`: the keys that open every organization's secrets."""

from typing import Any

import typer

from datanika_stack.cli.command import api_command, orgless_command
from datanika_stack.cli.confirmation import Yes, confirm
from datanika_stack.cli.inputs import read_secret
from datanika_stack.cli.resources import noun
from datanika_stack.cli.secret_options import (
    CurrentPasswordFile,
    NewPasswordFile,
    PasswordFile,
    PasswordsStdin,
    PasswordStdin,
)
from datanika_stack.cli.session import Session

app = noun("Encryption keys: the master password and rotations; for operators and owners.")
ROTATIONS = "/system/key-encryption-key/rotations"
_PROMPT = "Master password"


def add_unlocking(top: typer.Typer) -> None:
    """Adds the commands of the top level."""
    orgless_command(top, "unlock")(unlock)
    orgless_command(top, "seal")(seal)


def unlock(
    session: Session,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> Any:
    """Unlock a sealed platform with its master password; waiting runs go on. For operators."""
    password = read_secret(_PROMPT, from_stdin=password_stdin, file=password_file)
    return session.client.post("/system/unlock", {"password": password})


def seal(session: Session, yes: Yes = False) -> Any:
    """Forget the unlocked keys everywhere, until somebody unlocks again. For operators."""
    confirm(
        "Seal the platform? Until somebody unlocks it again, no secret can be read and runs wait.",
        yes=yes,
    )
    return session.client.post("/system/seal")


@orgless_command(app, "status")
def status(session: Session) -> Any:
    """Show whether secrets can be read, and how far the latest rotation is."""
    seal_state = session.client.get("/system/seal")
    return {**seal_state, "rotation": session.client.get(ROTATIONS)}


@orgless_command(app, "set-password")
def set_password(
    session: Session,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> Any:
    """Set the first master password and unlock; nobody can recover a lost one."""
    password = read_secret(_PROMPT, from_stdin=password_stdin, file=password_file, is_new=True)
    return session.client.post("/system/master-password", {"password": password})


@orgless_command(app, "change-password")
def change_password(
    session: Session,
    password_stdin: PasswordsStdin = False,
    current_password_file: CurrentPasswordFile = None,
    new_password_file: NewPasswordFile = None,
) -> Any:
    """Change the master password; the old one ends at once."""
    current = read_secret(
        "Current master password", from_stdin=password_stdin, file=current_password_file
    )
    new = read_secret(
        "New master password", from_stdin=password_stdin, file=new_password_file, is_new=True
    )
    session.client.put(
        "/system/master-password", {"current_password": current, "new_password": new}
    )
    return session.client.get("/system/seal")


@orgless_command(app, "rotate")
def rotate(
    session: Session,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> Any:
    """Wrap every organization's keys with the newest key-encryption key."""
    body = {}
    is_given = password_stdin or password_file is not None
    # Given, it opens the keys of a master password that another provider has replaced.
    if is_given or session.client.get("/system/seal")["provider"] == "master_password":
        body["password"] = read_secret(_PROMPT, from_stdin=password_stdin, file=password_file)
    answer = session.client.post(ROTATIONS, body)
    return {**answer, "progress_command": "datanika keys rotation-status"}


@orgless_command(app, "rotation-status")
def rotation_status(session: Session) -> Any:
    """Show how far the latest rotation of the key-encryption key is. For operators."""
    return session.client.get(ROTATIONS)


@api_command(app, "rotate-org")
def rotate_org(session: Session) -> Any:
    """Encrypt the organization's secrets with a new key of its own. For owners."""
    answer = session.client.post(session.path("data-key", "rotations"))
    return {**answer, "progress_command": "datanika keys org-rotation-status"}


@api_command(app, "org-rotation-status")
def org_rotation_status(session: Session) -> Any:
    """Show how far the organization's secrets have its newest key. For admins."""
    return session.client.get(session.path("data-key", "rotations"))
