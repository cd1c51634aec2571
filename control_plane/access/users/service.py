"""Accounts, their passwords and platform operators."""

from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.users.models import User
from control_plane.access.users.passwords import (
    hash_password,
    password_problem,
)
from control_plane.access.users.repository import UserOrg, UserRepository
from control_plane.core.errors import Conflict, Invalid, NotFound, Unauthorized
from control_plane.core.vault import Vault
from control_plane.tenancy.models import Organization
from control_plane.tenancy.service import create_organization

# The same text whether the account does not exist or the password is wrong.
WRONG_CREDENTIALS = "The e-mail address or the password is wrong."


@dataclass(frozen=True)
class NewAccount:
    """What sign-up made."""

    user: User
    org: Organization


@dataclass(frozen=True)
class Credentials:
    """What a password is verified against; `password_hash` is None for who has no password."""

    user_id: int
    password_hash: str | None = field(repr=False)


def checked_password(password: str, pointer: str) -> str:
    """Returns a new password that can be used.

    Raises:
        Invalid: It breaks a rule; the field is `pointer`.
    """
    problem = password_problem(password)
    if problem is not None:
        raise Invalid.field(pointer, problem)
    return password


def create_user(session: Session, email: str, password: str) -> User:
    """Creates a user; takes a while, so not where others wait for the transaction.

    Raises:
        Invalid: The password breaks a rule.
        Throttled: There is no place for hashing now.
        Conflict: The e-mail address has an account.
    """
    return add_user(session, email, hash_new_password(password, "/password"))


def add_user(session: Session, email: str, password_hash: str) -> User:
    """Creates a user whose password is hashed already.

    Raises:
        Conflict: The e-mail address has an account.
    """
    user = User(email=email.strip().lower(), password_hash=password_hash)
    try:
        with session.begin_nested():
            return UserRepository(session).add(user)
    except IntegrityError:
        raise Conflict("This e-mail address has an account already; sign in instead.") from None


def sign_up(
    session: Session, vault: Vault, *, email: str, password_hash: str, org_name: str
) -> NewAccount:
    """Creates a user and an org that the user owns; the caller knows who to name in the logs.

    Raises:
        Conflict: The e-mail address has an account.
    """
    user = add_user(session, email, password_hash)
    org = create_organization(session, vault, org_name)
    UserRepository(session).add_membership(org.id, user.id, Role.OWNER)
    return NewAccount(user, org)


def find_credentials(session: Session, email: str) -> Credentials | None:
    """Returns what an account's password is verified against, None where there is no account."""
    user = UserRepository(session).find_by_email(email.strip().lower())
    return Credentials(user.id, user.password_hash) if user else None


def get_unchanged(session: Session, known: Credentials, *, to_change: bool = False) -> User:
    """Returns the user, locked until the end of the transaction against a change of the password.

    The password is verified without a transaction, which takes a while. What ends a user's sessions
    changes the user first, so either it waits for this transaction and ends its session, too, or
    this one sees that the password is not the same any more.

    Args:
        session: The transaction.
        known: What the password was verified against.
        to_change: Whether this transaction changes the user.

    Raises:
        Unauthorized: The account was removed or its password changed meanwhile.
    """
    user = UserRepository(session).find_locked(known.user_id, to_change=to_change)
    if user is None or user.password_hash != known.password_hash:
        raise Unauthorized(WRONG_CREDENTIALS)
    return user


def hash_new_password(password: str, pointer: str) -> str:
    """Returns the hash of a password that somebody has chosen; takes a while, so before locking.

    Raises:
        Invalid: It breaks a rule; the field is `pointer`.
        Throttled: There is no place for hashing now.
    """
    return hash_password(checked_password(password, pointer))


def list_orgs(session: Session, user_id: int) -> list[UserOrg]:
    """Returns the orgs that a user belongs to."""
    return list(UserRepository(session).orgs_of(user_id))


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
