"""Sign-up, passwords and platform operators."""

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.users.models import User
from control_plane.access.users.passwords import (
    hash_password,
    password_problem,
    verify_password,
)
from control_plane.access.users.repository import OrgMember, UserOrg, UserRepository
from control_plane.audit.service import Actor, AuditLog
from control_plane.core.errors import Conflict, Invalid, NotFound, Unauthorized
from control_plane.core.vault import Vault
from control_plane.tenancy.models import Organization
from control_plane.tenancy.service import create_organization


@dataclass(frozen=True)
class NewAccount:
    """What sign-up made."""

    user: User
    org: Organization


def create_user(session: Session, email: str, password: str) -> User:
    """Creates a user.

    Raises:
        Invalid: The password breaks a rule.
        Conflict: The e-mail address has an account.
    """
    problem = password_problem(password)
    if problem is not None:
        raise Invalid.field("/password", problem)
    user = User(email=email.strip().lower(), password_hash=hash_password(password))
    try:
        with session.begin_nested():
            return UserRepository(session).add(user)
    except IntegrityError:
        raise Conflict("This e-mail address has an account already; sign in instead.") from None


def sign_up(
    session: Session, vault: Vault, *, email: str, password: str, org_name: str
) -> NewAccount:
    """Creates a user and an org that the user owns.

    Raises:
        Invalid: The password breaks a rule.
        Conflict: The e-mail address has an account.
    """
    user = create_user(session, email, password)
    org = create_organization(session, vault, org_name)
    UserRepository(session).add_membership(org.id, user.id, Role.OWNER)
    audit = AuditLog(session, org.id, Actor("user", user.id, user.email))
    audit.record("create", "organization", org.id, new={"slug": org.slug, "name": org.name})
    return NewAccount(user, org)


def authenticate(session: Session, email: str, password: str) -> User:
    """Returns the user whose password this is.

    Raises:
        Unauthorized: No such account or a wrong password: same text, same time.
    """
    user = UserRepository(session).find_by_email(email.strip().lower())
    if not verify_password(password, user.password_hash if user else None) or user is None:
        raise Unauthorized("The e-mail address or the password is wrong.")
    return user


def list_orgs(session: Session, user_id: int) -> list[UserOrg]:
    """Returns the orgs that a user belongs to."""
    return list(UserRepository(session).orgs_of(user_id))


def list_members(session: Session, org_id: int) -> list[OrgMember]:
    """Returns the members of the org that the session is in."""
    return list(UserRepository(session).members_of(org_id))


def make_operator(session: Session, email: str) -> User:
    """Makes an existing user a platform operator.

    Raises:
        NotFound: No such user.
    """
    user = UserRepository(session).find_by_email(email.strip().lower())
    if user is None:
        raise NotFound(f"There is no user '{email}'.")
    user.is_platform_operator = True
    session.flush()
    return user
