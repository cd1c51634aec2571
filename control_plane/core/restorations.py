"""What has to be made anew when a deleted org comes back: its logins are closed, its secrets maybe gone.

Restoring an org is done far below the features that have lost something. Each of those has a
function, `api.py` lists them, and whoever restores calls the list. This module knows none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.orm import Session

Restoration = Callable[[Session, int], None]
"""`(session, org_id)`, with the session inside the org."""


@dataclass(frozen=True)
class Restorations:
    """Every restoration that there is."""

    steps: tuple[Restoration, ...] = ()

    def run(self, session: Session, org_id: int) -> None:
        """Does them all, in the transaction in which the org comes back."""
        for step in self.steps:
            step(session, org_id)


async def _get_restorations(request: Request) -> Restorations:
    return cast("Restorations", request.app.state.restorations)


RestorationsDep = Annotated[Restorations, Depends(_get_restorations)]
