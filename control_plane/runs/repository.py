"""Reads and writes runs and launches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from control_plane.core.errors import NotFound
from control_plane.runs.models import Launch, Run, RunStatus
from control_plane.tenancy.repository import AS_IT_IS, TenantRepository


class RunRepository:
    """The runs of one org; their ids are Dagster's."""

    def __init__(self, session: Session, org_id: int) -> None:
        self.session = session
        self.org_id = org_id

    def find(self, run_id: str) -> Run | None:
        """Returns the run, None where this org has none with that id."""
        return self.session.scalar(select(Run).where(Run.org_id == self.org_id, Run.id == run_id))

    def get(self, run_id: str) -> Run:
        """Returns the run.

        Raises:
            NotFound: This org has no such run; another org's looks the same.
        """
        run = self.find(run_id)
        if run is None:
            raise NotFound(f"There is no run '{run_id}'.")
        return run

    def lock(self, run_id: str) -> Run | None:
        """Returns the run as it is now; nobody else changes it until the transaction ends."""
        return self.session.scalar(
            select(Run)
            .where(Run.org_id == self.org_id, Run.id == run_id)
            .with_for_update()
            .execution_options(**AS_IT_IS)
        )

    def page_before(
        self, position: tuple[datetime, str] | None, limit: int, status: str | None
    ) -> Sequence[Run]:
        """Returns runs, newest first, those before `position` where it is given."""
        statement = select(Run).where(Run.org_id == self.org_id)
        if position is not None:
            statement = statement.where(tuple_(Run.created_at, Run.id) < position)
        if status is not None:
            statement = statement.where(Run.status == status)
        statement = statement.order_by(Run.created_at.desc(), Run.id.desc()).limit(limit)
        return self.session.scalars(statement).all()

    def oldest_open_created_at(self) -> datetime | None:
        """Returns when the oldest run that has not ended was created."""
        return self.session.scalar(
            select(func.min(Run.created_at)).where(
                Run.org_id == self.org_id,
                Run.status.in_([RunStatus.PENDING, RunStatus.RUNNING]),
            )
        )

    def open_ids(self, limit: int) -> Sequence[str]:
        """Returns the ids of runs that have not ended, oldest first."""
        return self.session.scalars(
            select(Run.id)
            .where(
                Run.org_id == self.org_id,
                Run.status.in_([RunStatus.PENDING, RunStatus.RUNNING]),
            )
            .order_by(Run.created_at)
            .limit(limit)
        ).all()

    def list_open(self, limit: int) -> Sequence[Run]:
        """Returns runs that have not ended, the latest first."""
        return self.session.scalars(
            select(Run)
            .where(
                Run.org_id == self.org_id,
                Run.status.in_([RunStatus.PENDING, RunStatus.RUNNING]),
            )
            .order_by(Run.created_at.desc())
            .limit(limit)
        ).all()

    def list_successes(self, ended_after: datetime, limit: int) -> Sequence[Run]:
        """Returns the runs that have succeeded since then, the latest first."""
        return self.session.scalars(
            select(Run)
            .where(
                Run.org_id == self.org_id,
                Run.status == RunStatus.SUCCESS,
                Run.ended_at >= ended_after,
            )
            .order_by(Run.created_at.desc())
            .limit(limit)
        ).all()

    def insert_unless_there(self, **values: Any) -> None:
        """Inserts a run unless there is one with this id."""
        statement = insert(Run).values(org_id=self.org_id, **values)
        self.session.execute(statement.on_conflict_do_nothing(index_elements=[Run.id]))

    def update(self, run_id: str, **values: Any) -> None:
        """Changes a run."""
        self.session.execute(
            update(Run).where(Run.org_id == self.org_id, Run.id == run_id).values(**values)
        )


class LaunchRepository(TenantRepository[Launch]):
    """The launches of one org."""

    model = Launch
    noun = "launch"

    def find_by_key(self, idempotency_key: str) -> Launch | None:
        """Returns the launch that was made with this key."""
        return self.session.scalar(self.base().where(Launch.idempotency_key == idempotency_key))

    def delete(self, launch: Launch) -> None:
        """Removes a launch that led to no run."""
        self.session.delete(launch)
        self.session.flush()
