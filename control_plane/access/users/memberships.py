"""Reads, locks and writes the memberships of one org."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select

from control_plane.access.permissions import Role
from control_plane.access.users.models import Membership, User
from control_plane.tenancy.repository import MAXIMUM_BIGINT, TenantRepository


class MembershipRepository(TenantRepository[Membership]):
    """Who belongs to an org, by user."""

    model = Membership
    noun = "member"

    def find_of_user(self, user_id: int) -> Membership | None:
        """Returns a user's membership, None where the user has none here."""
        if not 0 < user_id <= MAXIMUM_BIGINT:
            return None
        return self.session.scalar(self.base().where(Membership.user_id == user_id))

    def lock_with_owners(self, user_ids: Sequence[int]) -> dict[int, Membership]:
        """Locks the memberships of these users and of every owner, and returns them by user.

        Whoever changes an owner holds all owners, always in the order of their ids: of two
        requests that would each leave the org to the other's owner, the second sees the first.
        """
        known = [user_id for user_id in user_ids if 0 < user_id <= MAXIMUM_BIGINT]
        rows = self.session.scalars(
            self.base()
            .where(or_(Membership.role == Role.OWNER, Membership.user_id.in_(known)))
            .order_by(Membership.id)
            .with_for_update()
        )
        return {row.user_id: row for row in rows}

    def count(self) -> int:
        """Returns how many members the org has."""
        return (
            self.session.scalar(
                select(func.count())
                .select_from(Membership)
                .join(User, User.id == Membership.user_id)
                .where(Membership.org_id == self.org_id, User.deleted_at.is_(None))
            )
            or 0
        )

    def remove(self, row: Membership) -> None:
        """Deletes a membership."""
        self.session.delete(row)
        self.session.flush()
