"""Who belongs to an org, with which role; what somebody who leaves takes along: nothing.

A role counts from the next request on: it is read each time. An org always has an owner.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.invitation_store.repository import InvitationRepository
from control_plane.access.key_store.repository import ApiKeyRepository
from control_plane.access.members.errors import LastOwner
from control_plane.access.permissions import Permission, Role
from control_plane.access.sessions.repository import SessionRepository
from control_plane.access.users.memberships import MembershipRepository
from control_plane.access.users.models import Membership, User
from control_plane.access.users.repository import OrgMember, UserRepository
from control_plane.core.clock import utc_now
from control_plane.core.errors import Forbidden, NotFound
from control_plane.core.etags import ANY_VERSION, IfMatch


class MemberService:
    """The members of the caller's org.

    Args:
        session: Inside the org.
        caller: In whose name.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._caller = caller
        self._memberships = MembershipRepository(session, caller.org_id)
        self._users = UserRepository(session)

    def page_members(self, after_user_id: int | None, limit: int) -> Sequence[OrgMember]:
        """Returns the members by user id, those after `after_user_id`."""
        return self._users.page_members_of(self._caller.org_id, after_user_id, limit)

    def get_member(self, user_id: int) -> Membership:
        """Returns a user's membership.

        Raises:
            NotFound: The user is no member.
        """
        row = self._memberships.find_of_user(user_id)
        if row is None:
            raise _no_member(user_id)
        return row

    def email_of(self, row: Membership) -> str:
        """Returns the e-mail address of a member."""
        return self._user_of(row).email

    def change_role(self, user_id: int, role: Role, if_match: IfMatch = ANY_VERSION) -> Membership:
        """Gives a member another role.

        Raises:
            NotFound: The user is no member.
            Forbidden: The old or the new role is not the caller's to take or give.
            PreconditionFailed: The membership is another version by now.
            LastOwner: Nobody else owns the org.
        """
        row, locked = self._lock(user_id)
        old = Role(row.role)
        self._refuse_unless_theirs_to_manage(locked, old, role)
        if_match.require(row.version)
        if old == role:
            return row
        self._keep_an_owner(row, locked)
        row.role = role
        self._session.flush()
        email = self.email_of(row)
        self._caller.audit(self._session).record(
            "update",
            "member",
            user_id,
            old={"email": email, "role": old},
            new={"email": email, "role": role},
        )
        return row

    def remove_member(self, user_id: int, if_match: IfMatch = ANY_VERSION) -> None:
        """Ends a membership: at once for the person's sessions, and for ever for their API keys.

        Raises:
            NotFound: The user is no member.
            Forbidden: Owners are removed by owners only.
            PreconditionFailed: The membership is another version by now.
            LastOwner: Nobody else owns the org.
        """
        row, locked = self._lock(user_id)
        self._refuse_unless_theirs_to_manage(locked, Role(row.role))
        if_match.require(row.version)
        self._end(row, locked, "delete")

    def leave(self) -> None:
        """Ends the caller's own membership.

        Raises:
            Forbidden: An API key is no member.
            NotFound: The caller has been removed a moment ago.
            LastOwner: Nobody else owns the org.
        """
        if self._caller.actor.kind != "user" or self._caller.actor.id is None:
            raise Forbidden("An API key cannot leave the organization; sign in.")
        row, locked = self._lock(self._caller.actor.id)
        self._end(row, locked, "leave")

    def _lock(self, user_id: int) -> tuple[Membership, Mapping[int, Membership]]:
        locked = self._memberships.lock_with_owners([user_id, *self._acting_user_ids()])
        row = locked.get(user_id)
        if row is None:
            raise _no_member(user_id)
        return row, locked

    def _acting_user_ids(self) -> list[int]:
        actor = self._caller.actor
        if actor.id is None:
            return []
        if actor.kind == "user":
            return [actor.id]
        # A key acts in the name of whoever made it.
        return [
            ApiKeyRepository(self._session, self._caller.org_id).get(actor.id).created_by_user_id
        ]

    def _refuse_unless_theirs_to_manage(
        self, locked: Mapping[int, Membership], *roles: Role
    ) -> None:
        # Read again under the lock: whoever was demoted while this request waited decides nothing.
        acting = self._caller.role
        for user_id in self._acting_user_ids():
            row = locked.get(user_id)
            if row is None:
                raise NotFound(f"There is no organization '{self._caller.org}'.")
            acting = Role(row.role)
        refused = [role for role in roles if not self._caller.may_give(role, acting=acting)]
        if refused:
            raise Forbidden(
                f"This needs the permission '{Permission.MEMBERS_WRITE}', and for owners the "
                "role 'owner'; an API key needs all that the role may. "
                f"{self._caller.actor.name} has the role '{acting}'."
            )

    def _keep_an_owner(self, row: Membership, locked: Mapping[int, Membership]) -> None:
        owners = [one for one in locked.values() if one.role == Role.OWNER]
        if owners == [row]:
            raise LastOwner(
                f"{self.email_of(row)} is the only owner of '{self._caller.org}'; "
                "make somebody else an owner first."
            )

    def _end(self, row: Membership, locked: Mapping[int, Membership], action: str) -> None:
        self._keep_an_owner(row, locked)
        old = {"email": self.email_of(row), "role": row.role}
        user_id = row.user_id
        self._memberships.remove(row)
        revoked = revoke_access(self._session, self._caller.org_id, user_id)
        self._caller.audit(self._session).record(action, "member", user_id, old=old, new=revoked)

    def _user_of(self, row: Membership) -> User:
        return self._session.get_one(User, row.user_id)


def revoke_access(session: Session, org_id: int, user_id: int) -> dict[str, list[int]]:
    """Ends what a user has in an org beside the membership; returns the ids of what ends.

    Whoever is invited again finds none of it: a key that was made while its maker was being removed
    would otherwise come back, and so would the invitations that they have sent.
    """
    now = utc_now()
    SessionRepository(session).forget_org(org_id, user_id)
    keys = ApiKeyRepository(session, org_id).revoke_all(now, creator_id=user_id)
    invitations = InvitationRepository(session, org_id).revoke_all(now, inviter_id=user_id)
    return {"revoked_api_keys": keys, "revoked_invitations": invitations}


def _no_member(user_id: int) -> NotFound:
    return NotFound(f"There is no member {user_id}.")
