"""dbt inside this process: one invocation, with options that only the platform sets.

dbt is not safe twice in one process (adapters, flags and caches are global), so every job calls
`invoke` at most once. This module knows dbt's Python API and its messages; it must not know
what a run, an asset or a check is.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

EventCallback = Callable[[Any], None]

_HOST_PATHS = re.compile(r"(?:^|(?<=[\s'\"(\[]))/(?:[^\s'\"/]+/)+[^\s'\":,)\]]*")
NO_DATABASE = "connection never acquired"
"""In the message of a model that queries the database while it compiles without one."""

_INLINE_ERROR = "Error parsing inline query"
_COMPILED_AT = re.compile(r"\n?[ \t]*compiled code at [^\n]*")


@dataclass(frozen=True)
class Outcome:
    """What an invocation ended with.

    Attributes:
        is_success: dbt's own verdict.
        results: One per node that was selected; empty where dbt stopped before.
        error: dbt's message where it stopped before or between nodes.
    """

    is_success: bool
    results: Sequence[Any]
    error: str | None


def invoke(
    command: str,
    *,
    project_dir: Path,
    work_dir: Path,
    options: dict[str, Any] | None = None,
    manifest: "Manifest | None" = None,
    on_event: EventCallback | None = None,
) -> Outcome:
    """Runs one dbt command.

    Args:
        command: dbt's command, for example `build`.
        project_dir: The project; dbt writes nothing into it.
        work_dir: Where `target` goes; private to this job.
        options: dbt's options by parameter name. They are given as Python values and never
            become text of a command line, so no value can turn into another option.
        manifest: The parsed project, to skip parsing.
        on_event: Called with each of dbt's structured events, from several threads.
    """
    # Only jobs pay for this import: it takes more than a second.
    from dbt.cli.main import dbtRunner  # noqa: PLC0415

    adapt()
    target = str(work_dir / "target")
    runner = dbtRunner(manifest=manifest, callbacks=[on_event] if on_event else [])
    result = runner.invoke(
        [command, f"--project-dir={project_dir}", f"--profiles-dir={project_dir}"],
        target_path=target,
        log_path=target,
        log_level="none",
        log_level_file="none",
        send_anonymous_usage_stats=False,
        version_check=False,
        use_colors=False,
        **(options or {}),
    )
    error = _text(result.exception) if result.exception else None
    return Outcome(result.success, list(getattr(result.result, "results", ())), error)


def adapt() -> None:
    """Changes what dbt has no option for; a test names what an upgrade moves.

    What dbt would do besides takes longer than a small build: it looks through every frame of the
    stack and every source file of it to say which adapter declares a behaviour flag, and through
    every installed package for plug-ins, of which there are none.
    """
    from dbt.plugins.manager import PluginManager  # noqa: PLC0415
    from dbt.task.compile import CompileTask  # noqa: PLC0415
    from dbt_common.behavior_flags import BehaviorFlagRendered  # noqa: PLC0415

    # A model that queries the database while it compiles fails without one; the others go on.
    CompileTask.raise_on_first_error = lambda self: False
    BehaviorFlagRendered._default_source = staticmethod(lambda: "adapter")
    PluginManager.get_prefixed_modules = staticmethod(dict)


def _text(exception: BaseException) -> str:
    if str(exception) == _INLINE_ERROR and exception.__context__ is not None:
        exception = exception.__context__  # dbt hides what was wrong behind a fixed text
    return clean_message(str(exception))


def clean_message(message: str) -> str:
    """Returns dbt's message without paths of this machine."""
    message = _COMPILED_AT.sub("", message)
    return _HOST_PATHS.sub(lambda path: path.group().rsplit("/", 1)[1], message).strip()
