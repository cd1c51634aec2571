"""Reads what a command is given beside its options: JSON files, standard input, secrets."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

STANDARD_INPUT = "-"


class UsageError(Exception):
    """The command cannot be carried out as it was given; the exit code is 2."""


def read_text(file: str) -> str:
    """Returns the text of `file`, of standard input where it is `-`.

    Raises:
        UsageError: The file cannot be read.
    """
    if file == STANDARD_INPUT:
        return sys.stdin.read()
    try:
        return Path(file).read_text()
    except OSError as error:
        raise UsageError(f"Cannot read {file}: {error.strerror}.") from None


def read_object(file: str | None) -> dict[str, Any]:
    """Returns the JSON object in `file` (`-`: standard input), an empty one without a file.

    Raises:
        UsageError: The file cannot be read or holds something else.
    """
    if file is None:
        return {}
    try:
        value = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        # Only the place: the text may hold a secret.
        raise UsageError(
            f"{file} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    if not isinstance(value, dict):
        raise UsageError(f"{file} must hold a JSON object.")
    return value


def merge(base: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Returns `base` with every option that was given (is not None and not empty) put over it."""
    return base | {
        name: value for name, value in options.items() if value is not None and value != []
    }


def parse_settings(settings: list[str], *, secret_names: frozenset[str]) -> dict[str, Any]:
    """Turns `["port=5432", "host=db"]` into a dictionary; values may be JSON.

    Args:
        settings: `NAME=VALUE` texts from the command line.
        secret_names: Names that are refused, because arguments show in the process list and in
            the shell's history.

    Raises:
        UsageError: A text without `=`, or a secret.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or not name:
            raise UsageError("--set takes NAME=VALUE, for example --set port=5432.")
        if name in secret_names:
            raise UsageError(
                f"'{name}' is a secret and is not taken from the command line: "
                "use --password-stdin, --config-file or the prompt."
            )
        values[name] = _value(text)
    return values


def read_secret(
    prompt: str,
    *,
    from_stdin: bool,
    file: str | None = None,
    is_new: bool = False,
    option: str = "--password-stdin",
) -> str:
    """Returns a secret: the first line of a file or of standard input, or asked for without echo.

    Args:
        prompt: What to call it.
        from_stdin: Take the next line of standard input.
        file: Take the first line of this file, of standard input where it is `-`.
        is_new: Ask twice, since nobody could correct a mistake later.
        option: The option by which standard input gives it.

    Raises:
        UsageError: There is nobody to ask, or the secret is empty.
    """
    if file is not None and file != STANDARD_INPUT:
        secret = read_text(file).partition("\n")[0].rstrip("\r")
    elif from_stdin or file == STANDARD_INPUT:
        secret = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        secret = typer.prompt(prompt, hide_input=True, err=True, confirmation_prompt=is_new)
    else:
        raise UsageError(f"{prompt} is missing: standard input is no terminal, use {option}.")
    if not secret:
        raise UsageError(f"{prompt} is empty.")
    return secret


def parse_reference(text: str, kinds: tuple[str, ...]) -> tuple[str, str]:
    """Splits `upload:airline` into kind and name (or id).

    Raises:
        UsageError: Another form or an unknown kind.
    """
    kind, separator, name = text.partition(":")
    if not separator or kind not in kinds or not name:
        forms = " or ".join(f"{kind}:NAME" for kind in kinds)
        raise UsageError(f"'{text}' is no target; write {forms}.")
    return kind, name


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
