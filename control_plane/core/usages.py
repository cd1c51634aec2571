"""What else still uses a resource: asked before something is deleted.

A feature knows only the features below it, yet an upload must not vanish under a schedule. So
each upper feature has a function that names what it has on a resource, `api.py` lists them, and
the lower feature asks the list. This module knows none of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from control_plane.core.errors import Conflict

UsageFinder = Callable[[Session, int, str, int], Sequence[str]]
"""`(session, org_id, resource_type, resource_id)` → what uses it, for example "schedule 3"."""

MAXIMUM_NAMED = 10


@dataclass(frozen=True)
class Usages:
    """Every finder that there is, in the order in which people want to read them."""

    finders: tuple[UsageFinder, ...] = ()

    def refuse_if_used(
        self, session: Session, org_id: int, resource_type: str, resource_id: int, name: str
    ) -> None:
        """Lets a resource be deleted only when nothing uses it.

        Args:
            session: Inside the org.
            org_id: The org.
            resource_type: `connection`, `upload` or `transformation`.
            resource_id: Which one.
            name: Its name, for the message.

        Raises:
            Conflict: Names what uses it.
        """
        users = [
            user
            for finder in self.finders
            for user in finder(session, org_id, resource_type, resource_id)
        ]
        if users:
            more = len(users) - MAXIMUM_NAMED
            named = ", ".join(users[:MAXIMUM_NAMED]) + (f" and {more} more" if more > 0 else "")
            raise Conflict(
                f"The {resource_type} '{name}' is in use by {named}; delete those first."
            )


async def _get_usages(request: Request) -> Usages:
    return cast("Usages", request.app.state.usages)


UsagesDep = Annotated[Usages, Depends(_get_usages)]
