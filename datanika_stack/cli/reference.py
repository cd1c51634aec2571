"""Writes docs/cli.md from the command itself: `python -m datanika_stack.cli.reference`.

The text of an option has one home, its declaration; a test compares the page with this output.
"""

import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

_COMMON = {"api_url", "home", "as_json"}
_INTRODUCTION = """\
# The `datanika` command

Written by `python -m datanika_stack.cli.reference > docs/cli.md`; the texts live in
`datanika_stack/cli/` and `datanika_stack/demo/command.py`.

- Commands that speak to the REST API (all but `up`, `down`, `status`, `demo` and their like) also
  take `--api-url URL`, `--home DIR` and `--json`, and those that work in one org take `--org SLUG`.
- Exit codes: **0** done; **1** the API refused, or the work failed (a run, a connection test);
  **2** the command was used in a wrong way (unknown option, no login, no org).
- The control plane is `--api-url` or `DATANIKA_API_URL`, else the stack in `--home`, else the one that
  runs in `DATANIKA_HOME` (default `.datanika`), else the last `datanika login`.
- The link of an invitation or a password reset goes to the control plane that it leads to; `--api-url`
  must not name another one.
- Who calls is `DATANIKA_API_KEY`, else the login of `datanika login`, kept with mode 0600 in the
  user's configuration directory and renewed by itself. A key works in its org only: what is a person's
  or the platform's (`whoami`, `session`, `unlock`, `system`, …) needs a login.
- The org is `--org` or `DATANIKA_ORG`, else the one of the login.
- Secrets are never arguments: `--password-stdin`, a prompt, or a file (`-` is standard input).
- `REF` is an id, a slug or a name; `TYPE:NAME` is `upload:NAME` or `transformation:NAME`.
"""


def render(app: typer.Typer) -> str:
    """Returns the reference of every command of `app` in Markdown."""
    root: Any = get_command(app)
    parts = [_INTRODUCTION]
    parts += [_section(path, command) for path, command in walk(root, "datanika")]
    return "\n".join(parts)


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields every command that does something, with the words that call it."""
    children: dict[str, Any] = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from walk(child, f"{path} {name}")


def _section(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    is_of_api = {p.name for p in options} >= _COMMON
    hidden = {"help", *({*_COMMON, "org"} if is_of_api else ())}
    options = [option for option in options if option.name not in hidden]
    words = [path, *(_argument(argument) for argument in arguments)]
    lines = [f"## `{' '.join(words)}`", "", _paragraphs(command.help or ""), ""]
    lines += [f"- `{_argument(a)}`: {a.help}" for a in arguments if getattr(a, "help", None)]
    lines += [_option(option) for option in options]
    return "\n".join([*lines, ""])


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = f"{name}…" if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    environment = f" Environment: `{option.envvar}`." if option.envvar else ""
    default = option.default
    shown = "" if default in (None, False, "", []) or callable(default) else f" Default: {default}."
    return f"- {names}: {option.help or ''}{shown}{environment}"


def _paragraphs(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def main() -> None:
    """Prints the page."""
    from datanika_stack.cli.main import app  # noqa: PLC0415 - the app imports this package

    sys.stdout.write(render(app))


if __name__ == "__main__":
    main()
