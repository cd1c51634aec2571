"""Turns a function `(session, …)` into a command of the API: options, errors, output.

Every such command has the same options at its end (`--org` only where it works in one), reports
errors in the same way, and exits with 0 (done), 1 (the API refused, or the work failed) or 2 (used in a wrong way).
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from datanika_stack.api_client import ApiError
from datanika_stack.cli.inputs import UsageError
from datanika_stack.cli.logins import LoginFile
from datanika_stack.cli.output import show, show_error
from datanika_stack.cli.session import Common, Session
from datanika_stack.settings import ClientSettings

EXIT_FAILED = 1
EXIT_USAGE = 2
# What a command returns that has written its output itself.
NO_OUTPUT = object()


class CommandFailedError(Exception):
    """The command ran, and what it reports is a failure; the output has been shown."""


def _common_options(
    *,
    org: Annotated[
        str | None, typer.Option(envvar="DATANIKA_ORG", help="Slug of the org to work on.")
    ] = None,
    api_url: Annotated[
        str | None,
        typer.Option(envvar="DATANIKA_API_URL", help="URL of the control plane."),
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Home of a local stack whose control plane is meant.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> Common:
    return Common(org, api_url, home, as_json)


_COMMON = inspect.signature(_common_options).parameters


def api_command(
    app: typer.Typer, name: str, *, columns: Sequence[str] = (), has_org: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as the command `name` of `app`.

    A parameter whose annotation is a dataclass becomes one option per field, so that commands
    with many options share one declaration of them.

    Args:
        app: The noun.
        name: The verb.
        columns: The columns in which a list is shown to people.
        has_org: Whether it works in an org and so takes `--org`.
    """
    shared = [option for option in _COMMON.values() if has_org or option.name != "org"]

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        own = list(inspect.signature(function).parameters.values())[1:]

        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            common = _common_options(**{o.name: arguments.pop(o.name) for o in shared})
            with _session(common) as session:
                result = function(session, **_gathered(own, arguments))
                if result is not NO_OUTPUT:
                    show(result, columns=columns, as_json=common.as_json)

        parameters = [*_flattened(own), *shared]
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name)(run)
        return function

    return register


# For what belongs to a person or to the platform, or names its org itself.
orgless_command = functools.partial(api_command, has_org=False)


@contextmanager
def _session(common: Common) -> Iterator[Session]:
    session = Session(common, ClientSettings(), LoginFile())
    try:
        yield session
    except (ApiError, UsageError) as error:
        show_error(error, as_json=common.as_json)
        code = EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
        raise typer.Exit(code) from None
    except CommandFailedError:
        raise typer.Exit(EXIT_FAILED) from None
    finally:
        session.close()


def _flattened(parameters: list[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Yields keyword-only parameters, one per field where the annotation is a dataclass."""
    for parameter in parameters:
        if not is_dataclass(parameter.annotation):
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        for field in fields(parameter.annotation):
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )


def _gathered(parameters: list[inspect.Parameter], arguments: dict[str, Any]) -> dict[str, Any]:
    """Puts the fields of dataclass parameters back together."""
    gathered: dict[str, Any] = {}
    for parameter in parameters:
        kind = parameter.annotation
        if is_dataclass(kind) and isinstance(kind, type):
            gathered[parameter.name] = kind(**{f.name: arguments[f.name] for f in fields(kind)})
        else:
            gathered[parameter.name] = arguments[parameter.name]
    return gathered
