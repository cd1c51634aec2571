"""Reads and writes reactions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from control_plane.reactions.models import Cause, Reaction, ReactionState
from control_plane.tenancy.repository import AS_IT_IS, TenantRepository


class ReactionRepository(TenantRepository[Reaction]):
    """The reactions of one org."""

    model = Reaction
    noun = "reaction"

    def insert_unless_there(self, **values: Any) -> None:
        """Inserts a reaction unless there is one to the same occasion."""
        statement = insert(Reaction).values(org_id=self.org_id, **values)
        self.session.execute(statement.on_conflict_do_nothing())

    def list_due(self, now: datetime, limit: int) -> Sequence[Reaction]:
        """Returns the reactions that are to be launched now, the oldest first."""
        due = self.base().where(
            Reaction.state == ReactionState.PENDING, Reaction.next_attempt_at <= now
        )
        return self.session.scalars(due.order_by(Reaction.id).limit(limit)).all()

    def find_pending(self, reaction_id: int) -> Reaction | None:
        """Returns a reaction, locked, None where it is settled."""
        pending = self.base().where(
            Reaction.id == reaction_id, Reaction.state == ReactionState.PENDING
        )
        return self.session.scalar(pending.with_for_update().execution_options(**AS_IT_IS))

    def list_of(self, cause: Cause, cause_id: int, occasion_prefix: str = "") -> Sequence[Reaction]:
        """Returns the reactions to a cause, the latest first."""
        return self.session.scalars(
            self.base()
            .where(
                Reaction.cause_type == cause,
                Reaction.cause_id == cause_id,
                Reaction.occasion.startswith(occasion_prefix, autoescape=True),
            )
            .order_by(Reaction.id.desc())
        ).all()

    def page_before(
        self, cause: Cause, cause_id: int, before_id: int | None, limit: int
    ) -> Sequence[Reaction]:
        """Returns the reactions to a cause, the latest first, those before `before_id`."""
        statement = self.base().where(Reaction.cause_type == cause, Reaction.cause_id == cause_id)
        if before_id is not None:
            statement = statement.where(Reaction.id < before_id)
        return self.session.scalars(statement.order_by(Reaction.id.desc()).limit(limit)).all()

    def delete_settled(self, before: datetime, limit: int) -> None:
        """Removes some of the reactions that were settled long ago."""
        old = (
            select(Reaction.id)
            .where(
                Reaction.org_id == self.org_id,
                Reaction.state != ReactionState.PENDING,
                Reaction.created_at < before,
            )
            .limit(limit)
        )
        self.session.execute(delete(Reaction).where(Reaction.id.in_(old)))
