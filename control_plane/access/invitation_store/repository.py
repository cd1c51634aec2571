"""Reads and writes invitations."""

from datetime import datetime

from sqlalchemy import Select, update

from control_plane.access.invitation_store.models import Invitation
from control_plane.tenancy.repository import TenantRepository


class InvitationRepository(TenantRepository[Invitation]):
    """The invitations of one org that are neither accepted nor revoked; some may have expired."""

    model = Invitation
    noun = "invitation"

    def base(self) -> Select[Invitation]:
        """Returns the select that every read starts from."""
        return (
            super().base().where(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
        )

    def find_of_email(self, email: str) -> Invitation | None:
        """Returns the invitation of an address, in lower case."""
        return self.session.scalar(self.base().where(Invitation.email == email))

    def find_by_hash(self, token_hash: str, now: datetime, *, lock: bool) -> Invitation | None:
        """Returns the invitation with this token unless it has expired.

        Args:
            token_hash: SHA-256 of the token.
            now: When.
            lock: Whether nobody else may use it meanwhile: who waits for it finds it used.
        """
        statement = self.base().where(
            Invitation.token_hash == token_hash, Invitation.expires_at > now
        )
        return self.session.scalar(statement.with_for_update() if lock else statement)

    def revoke_all(self, now: datetime, *, inviter_id: int | None = None) -> list[int]:
        """Makes the org's invitations useless, or those that one user sent, and returns which."""
        statement = (
            update(Invitation)
            .where(
                Invitation.org_id == self.org_id,
                Invitation.accepted_at.is_(None),
                Invitation.revoked_at.is_(None),
            )
            .values(revoked_at=now)
            .returning(Invitation.id)
        )
        if inviter_id is not None:
            statement = statement.where(Invitation.invited_by_user_id == inviter_id)
        return sorted(self.session.scalars(statement))
