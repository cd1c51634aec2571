"""Records what concerns a person rather than one org: sign-ins, sign-outs, passwords.

Each entry is in the platform's own log and in the log of every org that the person belongs to, so
that an org's security team sees how its members sign in without asking the operator.
"""

from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.users.repository import UserRepository
from control_plane.audit.service import Actor, AuditLog, PlatformAuditLog
from control_plane.core.database import enter_org

ACTOR_NAME_CHARACTERS = 320


class IdentityLog:
    """Writes such entries for one actor, in the session's transaction."""

    def __init__(self, session: Session, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    def record(
        self,
        user_id: int | None,
        action: str,
        resource_type: str,
        resource_id: object = None,
        *,
        new: dict[str, Any] | None = None,
    ) -> None:
        """Adds the entries; the session is in the same org afterwards as before.

        Args:
            user_id: Whom it concerns; None for an address without an account.
            action: A verb: login, login_failed, logout, …
            resource_type: What it was done to.
            resource_id: Which one.
            new: Values after, for the platform's own log only: one org's log names no other org.
        """
        PlatformAuditLog(self._session, self._actor).record(
            action, resource_type, resource_id, new=new
        )
        self._session.flush()
        if user_id is None:
            return
        before = self._session.info.get("org_id")
        for org in UserRepository(self._session).orgs_of(user_id):
            enter_org(self._session, org.org_id)
            log = AuditLog(self._session, org.org_id, self._actor)
            log.record(action, resource_type, resource_id)
            self._session.flush()
        enter_org(self._session, before)
