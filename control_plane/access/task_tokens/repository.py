"""Reads and writes task tokens."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update

from control_plane.access.task_tokens.models import TaskToken
from control_plane.tenancy.repository import TenantRepository


class TaskTokenRepository(TenantRepository[TaskToken]):
    """The task tokens of one org."""

    model = TaskToken
    noun = "task token"

    def redeem(self, token_hash: str, now: datetime) -> TaskToken | None:
        """Marks a live, unused token as redeemed, atomically, and returns it."""
        return self.session.scalar(
            update(TaskToken)
            .where(
                TaskToken.org_id == self.org_id,
                TaskToken.token_hash == token_hash,
                TaskToken.redeemed_at.is_(None),
                TaskToken.revoked_at.is_(None),
                TaskToken.expires_at > now,
            )
            .values(redeemed_at=now)
            .returning(TaskToken)
        )

    def is_used(self, token_hash: str) -> bool:
        """Tells whether a token was redeemed and has not been revoked since."""
        found = self.base().where(
            TaskToken.token_hash == token_hash,
            TaskToken.redeemed_at.is_not(None),
            TaskToken.revoked_at.is_(None),
        )
        return self.session.scalar(found) is not None

    def find_live(self, token_hash: str, now: datetime) -> TaskToken | None:
        """Returns a token that is neither expired nor revoked, redeemed or not."""
        return self.session.scalar(
            self.base().where(
                TaskToken.token_hash == token_hash,
                TaskToken.revoked_at.is_(None),
                TaskToken.expires_at > now,
            )
        )

    def extend(self, token_hash: str, now: datetime, expires_at: datetime) -> None:
        """Lets a live, unused token live until a later time."""
        self.session.execute(
            update(TaskToken)
            .where(
                TaskToken.org_id == self.org_id,
                TaskToken.token_hash == token_hash,
                TaskToken.redeemed_at.is_(None),
                TaskToken.revoked_at.is_(None),
                TaskToken.expires_at > now,
            )
            .values(expires_at=expires_at)
        )

    def revoke(self, token_hash: str, now: datetime) -> None:
        """Makes one token useless."""
        self._revoke(now, TaskToken.token_hash == token_hash)

    def delete_expired(self, before: datetime, limit: int) -> int:
        """Removes tokens that expired before a time, and returns how many."""
        expired = (
            select(TaskToken.id)
            .where(TaskToken.org_id == self.org_id, TaskToken.expires_at < before)
            .order_by(TaskToken.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        statement = delete(TaskToken).where(
            TaskToken.org_id == self.org_id, TaskToken.id.in_(expired)
        )
        return len(self.session.scalars(statement.returning(TaskToken.id)).all())

    def revoke_of_run(self, run_id: str, now: datetime) -> None:
        """Makes the tokens of a run useless."""
        self._revoke(now, TaskToken.run_id == run_id)

    def revoke_all(self, now: datetime) -> None:
        """Makes every token of the org useless."""
        self._revoke(now)

    def _revoke(self, now: datetime, *which: ColumnElement[bool]) -> None:
        self.session.execute(
            update(TaskToken)
            .where(TaskToken.org_id == self.org_id, TaskToken.revoked_at.is_(None), *which)
            .values(revoked_at=now)
        )
