"""The options by which commands are given passwords: never as arguments, which others can see."""

from typing import Annotated

import typer

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
PasswordsStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin",
        help="Read the passwords from standard input, a line each: the current one, the new one.",
    ),
]
PasswordFile = Annotated[
    str | None,
    typer.Option(help="A file whose first line is the password; - reads standard input."),
]
CurrentPasswordFile = Annotated[
    str | None, typer.Option(help="A file whose first line is the current password.")
]
NewPasswordFile = Annotated[
    str | None, typer.Option(help="A file whose first line is the new password.")
]
TokenStdin = Annotated[
    bool,
    typer.Option(
        "--token-stdin", help="Read the token (or its whole link) from standard input, first line."
    ),
]
