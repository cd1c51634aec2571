"""Ends what somebody else may hold of an account that its owner proves to own for the first time.

Anybody can sign up with anybody's address and wait for its owner to arrive (pre-hijacking,
https://arxiv.org/abs/2205.10174). So the first proof ends every credential that the account has
given out so far; docs/decisions/0064 says what stays and why.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.access.invitation_store.repository import InvitationRepository
from control_plane.access.key_store.repository import ApiKeyRepository
from control_plane.access.sessions.service import end_sessions_of
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.audit.service import Actor, AuditLog
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org


def end_credentials(session: Session, user: User, actor: Actor) -> None:
    """Ends password, sessions, API keys and open invitations of `user`, who is verified from now on.

    Open links for a new password are the caller's to close.

    Args:
        session: In no org; it is in none afterwards, too.
        user: Locked by the session.
        actor: In whose name this is recorded in the logs of the orgs.
    """
    now = utc_now()
    user.password_hash = None
    user.email_verified_at = now
    session.flush()
    end_sessions_of(session, user.id)
    # Suspended ones too. Elsewhere nothing is open, however many orgs there are: an org that is
    # deleted, and one that the user has left, has ended it; coming back ends it once more.
    for org in UserRepository(session).orgs_of(user.id):
        enter_org(session, org.org_id)
        _end_in_org(session, org.org_id, user, actor, now)
    enter_org(session, None)


def _end_in_org(session: Session, org_id: int, user: User, actor: Actor, now: datetime) -> None:
    keys = ApiKeyRepository(session, org_id).revoke_all(now, creator_id=user.id)
    invitations = InvitationRepository(session, org_id).revoke_all(now, inviter_id=user.id)
    audit = AuditLog(session, org_id, actor)
    for key_id in keys:
        audit.record("revoke", "api_key", key_id, new={"because": "address_first_proven"})
    for invitation_id in invitations:
        audit.record("revoke", "invitation", invitation_id, new={"because": "address_first_proven"})
    session.flush()
