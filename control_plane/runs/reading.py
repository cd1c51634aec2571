"""What the endpoints that ask Dagster about one run share: a place, and no transaction."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.core.dependencies import SessionDep
from control_plane.core.slots import Slots
from control_plane.runs import service
from control_plane.runs.models import Run


class Reading:
    """Looks at runs: Dagster answers in milliseconds, or in many seconds when it has much to do."""

    def __init__(self, slots: Slots, session: Session) -> None:
        self._slots = slots
        self._session = session

    @contextmanager
    def of_run(self, caller: Caller, run_id: str) -> Generator[Run]:
        """Gives a run, while Dagster is asked about it.

        Raises:
            NotFound: The org has no such run.
            Throttled: Too many are asking.
        """
        run = service.get_run(self._session, caller, run_id)
        with self.slot(caller):
            yield run

    @contextmanager
    def slot(self, caller: Caller) -> Generator[None]:
        """Holds a place while Dagster is asked, and no connection of the database's.

        Raises:
            Throttled: Too many are asking.
        """
        self._session.commit()
        with self._slots.take(caller.org_id):
            yield


async def _get_reading(request: Request, session: SessionDep) -> Reading:
    return Reading(cast("Slots", request.app.state.reading_slots), session)


ReadingDep = Annotated[Reading, Depends(_get_reading)]
