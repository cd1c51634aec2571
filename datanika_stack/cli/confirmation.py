"""Asks back before what nobody can take back, or what stops the work of everybody."""

import sys
from typing import Annotated

import typer

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask back.")]


def confirm(question: str, *, yes: bool) -> None:
    """Asks whether to go on; only at a terminal, since elsewhere nobody is there to answer.

    Raises:
        typer.Abort: The answer is no; the exit code is 1.
    """
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
