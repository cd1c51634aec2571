"""What a person does with the link of an invitation: look at it, and accept it once."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from control_plane.access.invitation_store.models import Invitation
from control_plane.access.invitation_store.repository import InvitationRepository
from control_plane.access.invitations.errors import SignInRequired
from control_plane.access.invitations.service import TOKEN_PATTERN
from control_plane.access.members.service import revoke_access
from control_plane.access.permissions import Role, may_give
from control_plane.access.sign_in.visitor import Visitor
from control_plane.access.users.memberships import MembershipRepository
from control_plane.access.users.models import Membership, User
from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import add_user, checked_password
from control_plane.audit.service import AuditLog
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org
from control_plane.core.errors import Conflict, Forbidden, Invalid, NotFound
from control_plane.core.tokens import hash_token
from control_plane.tenancy.models import Organization
from control_plane.tenancy.repository import MAXIMUM_BIGINT
from control_plane.tenancy.service import get_organization, is_active


@dataclass(frozen=True)
class OpenInvitation:
    """An invitation that can be accepted now.

    Attributes:
        row: The invitation.
        org: What it leads into.
        user: Who has an account with the invited address.
    """

    row: Invitation
    org: Organization
    user: User | None

    @property
    def is_email_verified(self) -> bool:
        """Whether the address is proven once this is accepted."""
        is_known = self.user is not None and self.user.email_verified_at is not None
        return is_known or self.row.mailed_at is not None


@dataclass(frozen=True)
class NewMember:
    """Who has accepted, and whether the account is new."""

    user: User
    org: Organization
    is_new_user: bool


def find_open(session: Session, token: str, *, lock: bool = False) -> OpenInvitation:
    """Returns the invitation of a link and leaves the session inside its org.

    Args:
        session: In no org yet.
        token: As it was presented.
        lock: Whether it is to be used: nobody else can meanwhile.

    Raises:
        NotFound: Unknown, expired, used or revoked, or the org is gone or suspended.
        Forbidden: Whoever has invited may not give this role any more.
    """
    match = TOKEN_PATTERN.fullmatch(token)
    org_id = int(match.group(1)) if match else 0
    if not 0 < org_id <= MAXIMUM_BIGINT:
        raise _no_such_invitation()
    enter_org(session, org_id)
    invitations = InvitationRepository(session, org_id)
    row = invitations.find_by_hash(hash_token(token), utc_now(), lock=lock)
    if row is None or not is_active(session, org_id):
        raise _no_such_invitation()
    _refuse_unless_still_theirs_to_give(session, row)
    user = UserRepository(session).find_by_email(row.email)
    return OpenInvitation(row, get_organization(session, org_id), user)


def refuse_unless_acceptable(
    session: Session, token: str, *, password: str | None, signed_in: User | None
) -> None:
    """Refuses what `accept` would, without a lock and before the password costs anything.

    Args:
        session: In no org yet.
        token: As it was presented.
        password: For an address without an account.
        signed_in: Who is signed in.

    Raises:
        NotFound: The link is not valid, or not any more.
        Forbidden: Whoever has invited may not give this role any more.
        SignInRequired: The address has an account and its owner is not signed in.
        Invalid: The password is missing, breaks a rule, or is not wanted.
    """
    invitation = find_open(session, token)
    if _existing_user(invitation, password, signed_in) is None:
        checked_password(_required(password, invitation.row), "/password")


def accept(
    session: Session,
    token: str,
    *,
    password_hash: str | None,
    signed_in: User | None,
    visitor: Visitor,
) -> NewMember:
    """Makes the invited person a member; of two who try at once, one finds the link used.

    Args:
        session: In no org yet.
        token: As it was presented.
        password_hash: Of the password for an address without an account.
        signed_in: Who is signed in.
        visitor: From where the request came.

    Raises:
        NotFound: The link is not valid, or not any more.
        Forbidden: Whoever has invited may not give this role any more.
        SignInRequired: The address has an account and its owner is not signed in.
        Invalid: The password is missing or is not wanted.
        Conflict: The person is a member already.
    """
    invitation = find_open(session, token, lock=True)
    row = invitation.row
    user = _existing_user(invitation, password_hash, signed_in)
    is_new_user = user is None
    if user is None:
        user = add_user(session, row.email, _required(password_hash, row))
    if row.mailed_at is not None and user.email_verified_at is None:
        # The link reached the person by mail, and nobody else has seen it.
        user.email_verified_at = utc_now()
    row.accepted_at = utc_now()
    _add_membership(session, row, user)
    actor = visitor.as_actor(user.id, user.email)
    values = {"email": user.email, "role": row.role}
    AuditLog(session, row.org_id, actor).record("accept", "invitation", row.id, new=values)
    AuditLog(session, row.org_id, actor).record("create", "member", user.id, new=values)
    session.flush()
    return NewMember(user, invitation.org, is_new_user)


def _existing_user(
    invitation: OpenInvitation, password: str | None, signed_in: User | None
) -> User | None:
    user = invitation.user
    if user is None:
        return None
    if signed_in is None or signed_in.id != user.id:
        raise SignInRequired(
            f"The invitation is for {user.email}, which has an account: sign in as {user.email}."
        )
    if password is not None:
        raise Invalid.field("/password", f"{user.email} has an account and keeps its password")
    return user


def _required(password: str | None, row: Invitation) -> str:
    if password is None:
        raise Invalid.field("/password", f"{row.email} has no account yet: choose a password")
    return password


def _add_membership(session: Session, row: Invitation, user: User) -> None:
    memberships = MembershipRepository(session, row.org_id)
    if memberships.find_of_user(user.id) is not None:
        raise Conflict(f"{user.email} is a member already.")
    # Whoever comes back finds nothing of before.
    revoke_access(session, row.org_id, user.id)
    memberships.add(Membership(org_id=row.org_id, user_id=user.id, role=row.role))


def _refuse_unless_still_theirs_to_give(session: Session, row: Invitation) -> None:
    if row.invited_by_user_id is None:
        return
    inviter = MembershipRepository(session, row.org_id).find_of_user(row.invited_by_user_id)
    if inviter is None or not may_give(Role(inviter.role), Role(row.role)):
        raise Forbidden(
            "Whoever has invited you may not give this role any more; ask for a new invitation."
        )


def _no_such_invitation() -> NotFound:
    return NotFound(
        "There is no such invitation: it was used, was revoked, has expired, or never was."
    )
