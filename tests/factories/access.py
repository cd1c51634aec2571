"""Makes users with an org, without the cost of bcrypt."""

import secrets
from dataclasses import dataclass

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.permissions import ROLE_PERMISSIONS, Role
from control_plane.access.sessions.service import start_session
from control_plane.access.sessions.tokens import TokenSigner
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.audit.service import Actor
from control_plane.core.database import enter_org
from control_plane.core.vault import Vault
from control_plane.tenancy.models import Organization
from control_plane.tenancy.service import create_organization


@dataclass(frozen=True)
class Member:
    """A user with a role in an org."""

    user: User
    org: Organization
    role: Role

    @property
    def caller(self) -> Caller:
        """The same as an endpoint sees it."""
        actor = Actor("user", self.user.id, self.user.email)
        return Caller(self.org.id, self.org.slug, actor, self.role, ROLE_PERMISSIONS[self.role])


def make_user(session: Session, **values: object) -> User:
    """A user who cannot sign in with a password."""
    email = f"{secrets.token_hex(6)}@example.com"
    return UserRepository(session).add(User(**{"email": email, **values}))


def make_member(session: Session, vault: Vault, *, role: Role = Role.OWNER) -> Member:
    """A new user in a new org; the session ends up inside it."""
    user = make_user(session)
    org = create_organization(session, vault, f"Org {secrets.token_hex(4)}")
    UserRepository(session).add_membership(org.id, user.id, role)
    session.commit()
    enter_org(session, org.id)
    return Member(user, org, role)


def make_colleague(session: Session, org: Organization, role: Role) -> Member:
    """A new user in an org that exists; the session ends up inside it."""
    user = make_user(session)
    enter_org(session, org.id)
    UserRepository(session).add_membership(org.id, user.id, role)
    session.commit()
    return Member(user, org, role)


def access_headers(session: Session, signer: TokenSigner, user: User) -> dict[str, str]:
    """The headers of somebody who has signed in."""
    tokens = start_session(session, signer, user)
    session.commit()
    return {"Authorization": f"Bearer {tokens.access_token}"}
