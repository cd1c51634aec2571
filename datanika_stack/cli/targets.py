"""What dependencies, schedules, policies and runs point at: `upload:NAME`, `transformation:NAME`."""

from typing import Any

from datanika_stack.cli.inputs import parse_reference
from datanika_stack.cli.session import Session

COLLECTIONS = {"upload": "uploads", "transformation": "transformations"}


def find_target(session: Session, text: str) -> tuple[str, int]:
    """Returns type and id of the target that `text` names.

    Raises:
        UsageError: The text has another form, or nothing has this name.
    """
    kind, name = parse_reference(text, tuple(COLLECTIONS))
    return kind, session.find(COLLECTIONS[kind], name)["id"]


def target_fields(session: Session, text: str | None, prefix: str) -> dict[str, Any]:
    """Returns `{"<prefix>_type": …, "<prefix>_id": …}` for a request, empty for None."""
    if text is None:
        return {}
    kind, identifier = find_target(session, text)
    return {f"{prefix}_type": kind, f"{prefix}_id": identifier}
