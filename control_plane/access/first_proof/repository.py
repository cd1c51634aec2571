"""Revokes the open invitations of one user."""

from datetime import datetime

from sqlalchemy import update

from control_plane.access.invitations.models import Invitation
from control_plane.tenancy.repository import TenantRepository


class OpenInvitationRepository(TenantRepository[Invitation]):
    """The invitations of one org that nobody has accepted yet."""

    model = Invitation
    noun = "invitation"

    def revoke_made_by(self, user_id: int, now: datetime) -> list[int]:
        """Makes the links that a user has made useless, and returns which."""
        statement = (
            update(Invitation)
            .where(
                Invitation.org_id == self.org_id,
                Invitation.invited_by_user_id == user_id,
                Invitation.accepted_at.is_(None),
                Invitation.revoked_at.is_(None),
            )
            .values(revoked_at=now)
            .returning(Invitation.id)
        )
        return sorted(self.session.scalars(statement))
