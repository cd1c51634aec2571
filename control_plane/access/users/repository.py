"""Reads and writes users, and finds the orgs that one belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.users.models import Membership, User


@dataclass(frozen=True)
class UserOrg:
    """An org as one of its members sees it."""

    org_id: int
    slug: str
    name: str
    role: Role
    is_suspended: bool


@dataclass(frozen=True)
class OrgMember:
    """A user as their org sees them."""

    user_id: int
    email: str
    role: Role
    version: int


class UserRepository:
    """Users; a global table."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def find(self, user_id: int) -> User | None:
        """Returns the live user with this id."""
        return self.session.scalar(
            select(User).where(User.id == user_id, User.deleted_at.is_(None))
        )

    def find_locked(self, user_id: int, *, to_change: bool) -> User | None:
        """Returns the live user, whom nobody else changes until this transaction ends.

        Args:
            user_id: The user.
            to_change: Whether this transaction changes the user; one that only relies on what it
                read shares the lock with others of its kind.
        """
        return self.session.scalar(
            select(User)
            .where(User.id == user_id, User.deleted_at.is_(None))
            .with_for_update(read=not to_change, key_share=to_change)
            .execution_options(populate_existing=True)
        )

    def find_by_email(self, email: str) -> User | None:
        """Returns the live user with this e-mail address, in lower case."""
        return self.session.scalar(
            select(User).where(User.email == email, User.deleted_at.is_(None))
        )

    def list_operators(self, *, lock: bool = False) -> Sequence[User]:
        """Returns the platform's operators by id.

        Args:
            lock: Whether nobody else may make or unmake one of them meanwhile.
        """
        statement = (
            select(User)
            .where(User.is_platform_operator, User.deleted_at.is_(None))
            .order_by(User.id)
        )
        if lock:
            statement = statement.with_for_update(key_share=True).execution_options(
                populate_existing=True
            )
        return self.session.scalars(statement).all()

    def add(self, user: User) -> User:
        """Inserts a user and fills the id."""
        self.session.add(user)
        self.session.flush()
        return user

    def orgs_of(self, user_id: int) -> Sequence[UserOrg]:
        """Returns the user's orgs, also while the session is in none.

        One of the five SECURITY DEFINER functions (architecture, decision 19).
        """
        rows = self.session.execute(
            text("SELECT * FROM memberships_of(:user_id) ORDER BY org_id"), {"user_id": user_id}
        )
        return [
            UserOrg(row.org_id, row.slug, row.name, Role(row.role), row.is_suspended)
            for row in rows
        ]

    def page_members_of(
        self, org_id: int, after_user_id: int | None, limit: int
    ) -> Sequence[OrgMember]:
        """Returns up to `limit` members of the org that the session is in, by user id."""
        statement = (
            select(User.id, User.email, Membership.role, Membership.version)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.org_id == org_id, User.deleted_at.is_(None))
            .order_by(User.id)
            .limit(limit)
        )
        if after_user_id is not None:
            statement = statement.where(User.id > after_user_id)
        rows = self.session.execute(statement)
        return [OrgMember(row.id, row.email, Role(row.role), row.version) for row in rows]

    def add_membership(self, org_id: int, user_id: int, role: Role) -> Membership:
        """Makes the user a member; the session must be inside the org."""
        membership = Membership(org_id=org_id, user_id=user_id, role=role)
        self.session.add(membership)
        self.session.flush()
        return membership
