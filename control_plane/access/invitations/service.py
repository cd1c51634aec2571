"""Invites people into an org, and takes invitations back.

An invitation is a one-time link for one address. Its token is not stored, names its org so that it
can be looked up under row-level security, and works for a week.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.invitation_store.models import Invitation
from control_plane.access.invitation_store.repository import InvitationRepository
from control_plane.access.invitations.errors import InvitationOpen
from control_plane.access.key_store.repository import ApiKeyRepository
from control_plane.access.permissions import Role
from control_plane.access.users.memberships import MembershipRepository
from control_plane.access.users.repository import UserRepository
from control_plane.core.clock import utc_now
from control_plane.core.errors import Conflict, Forbidden
from control_plane.core.tokens import hash_token, new_token

LIFETIME = timedelta(days=7)
TOKEN_PATTERN = re.compile(r"^dti_([1-9][0-9]{0,18})_[A-Za-z0-9_-]{43}$")


@dataclass(frozen=True, repr=False)
class IssuedInvitation:
    """An invitation and its token, which is not stored."""

    row: Invitation
    token: str


class InvitationService:
    """The invitations of the caller's org.

    Args:
        session: Inside the org.
        caller: In whose name.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._caller = caller
        self._invitations = InvitationRepository(session, caller.org_id)

    def invite(self, email: str, role: Role) -> IssuedInvitation:
        """Invites an address.

        Args:
            email: In lower case.
            role: What the person becomes.

        Raises:
            Forbidden: The role is not the caller's to give.
            Conflict: The address belongs to a member.
            InvitationOpen: The address is invited already.
        """
        self._refuse_unless_theirs_to_give(role)
        self._refuse_member(email)
        issued = issue(
            self._session, self._caller.org_id, email, role, invited_by_user_id=self._inviter_id()
        )
        self._caller.audit(self._session).record(
            "create", "invitation", issued.row.id, new={"email": email, "role": role}
        )
        return issued

    def page(self, after_id: int | None, limit: int) -> Sequence[Invitation]:
        """Returns the invitations that nobody has accepted, those after `after_id`."""
        return self._invitations.page_after(after_id, limit)

    def renew(self, invitation_id: int) -> IssuedInvitation:
        """Gives an invitation another token and another week; the old link ends.

        From now on it counts as the caller's.

        Raises:
            NotFound: The org has no such invitation, or it was accepted or revoked.
            Forbidden: The role is not the caller's to give.
        """
        row = self._invitations.lock(invitation_id)
        self._refuse_unless_theirs_to_give(Role(row.role))
        token = _new_token(row.org_id)
        row.token_hash, row.expires_at = hash_token(token), utc_now() + LIFETIME
        row.invited_by_user_id, row.mailed_at = self._inviter_id(), None
        self._session.flush()
        self._caller.audit(self._session).record(
            "renew", "invitation", row.id, new={"email": row.email, "role": row.role}
        )
        return IssuedInvitation(row, token)

    def revoke(self, invitation_id: int) -> None:
        """Makes an invitation's link useless.

        Raises:
            NotFound: The org has no such invitation, or it was accepted or revoked.
            Forbidden: The role is not the caller's to give.
        """
        row = self._invitations.lock(invitation_id)
        self._refuse_unless_theirs_to_give(Role(row.role))
        row.revoked_at = utc_now()
        self._session.flush()
        self._caller.audit(self._session).record(
            "delete", "invitation", row.id, old={"email": row.email, "role": row.role}
        )

    def _refuse_unless_theirs_to_give(self, role: Role) -> None:
        if not self._caller.may_give(role):
            raise Forbidden(
                "Only an owner may invite an owner, and an API key needs all that the role may; "
                f"{self._caller.actor.name} has the role '{self._caller.role}'."
            )

    def _refuse_member(self, email: str) -> None:
        user = UserRepository(self._session).find_by_email(email)
        members = MembershipRepository(self._session, self._caller.org_id)
        if user is not None and members.find_of_user(user.id) is not None:
            raise Conflict(f"{email} is a member already.")

    def _inviter_id(self) -> int | None:
        actor = self._caller.actor
        if actor.kind == "user":
            return actor.id
        # A key invites in the name of whoever made it: what that person may counts at acceptance.
        keys = ApiKeyRepository(self._session, self._caller.org_id)
        return keys.get(actor.id or 0).created_by_user_id


def issue(
    session: Session, org_id: int, email: str, role: Role, *, invited_by_user_id: int | None
) -> IssuedInvitation:
    """Makes an invitation; the session is inside the org.

    Args:
        session: Inside the org.
        org_id: The org.
        email: In lower case.
        role: What the person becomes.
        invited_by_user_id: Who has to be allowed to give that role also when it is accepted; None
            for the platform itself.

    Raises:
        InvitationOpen: The address is invited already.
    """
    token = _new_token(org_id)
    invitations = InvitationRepository(session, org_id)
    row = Invitation(
        org_id=org_id,
        email=email,
        role=role,
        token_hash=hash_token(token),
        invited_by_user_id=invited_by_user_id,
        expires_at=utc_now() + LIFETIME,
    )
    try:
        with session.begin_nested():
            invitations.add(row)
    except IntegrityError:
        open_one = invitations.find_of_email(email)
        number = f" {open_one.id}" if open_one else ""
        raise InvitationOpen(
            f"{email} has the invitation{number} already; renew it for another link, or revoke it "
            "to invite with another role."
        ) from None
    return IssuedInvitation(row, token)


def _new_token(org_id: int) -> str:
    # The org is part of the token, so that it can be looked up under row-level security.
    return new_token(f"dti_{org_id}_")
