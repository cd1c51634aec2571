"""Reads and writes task tokens."""

from datetime import datetime

from sqlalchemy import update

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

    def find_live(self, token_hash: str, now: datetime) -> TaskToken | None:
        """Returns a token that is neither expired nor revoked, redeemed or not."""
        return self.session.scalar(
            self.base().where(
                TaskToken.token_hash == token_hash,
                TaskToken.revoked_at.is_(None),
                TaskToken.expires_at > now,
            )
        )

    def revoke_of_run(self, run_id: str, now: datetime) -> None:
        """Makes the tokens of a run useless."""
        self.session.execute(
            update(TaskToken)
            .where(
                TaskToken.org_id == self.org_id,
                TaskToken.run_id == run_id,
                TaskToken.revoked_at.is_(None),
            )
            .values(revoked_at=now)
        )
