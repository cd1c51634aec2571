"""Renames and deletes the caller's organization.

Deleting is soft: everything stays where it is, and nobody gets at it. What gives access (API keys,
invitations, task tokens) ends for ever, and with `destroy_keys` so do the secrets; an operator can
bring back the rest.
"""

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.invitation_store.repository import InvitationRepository
from control_plane.access.key_store.repository import ApiKeyRepository
from control_plane.access.permissions import Permission, Role
from control_plane.access.sessions.repository import SessionRepository
from control_plane.access.task_tokens.repository import TaskTokenRepository
from control_plane.access.users.memberships import MembershipRepository
from control_plane.audit.service import PlatformAuditLog
from control_plane.core.clock import utc_now
from control_plane.core.errors import Forbidden, Invalid, NotFound
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.core.vault import Vault
from control_plane.tenancy.models import Organization
from control_plane.tenancy.secrets import OrgSecrets
from control_plane.tenancy.service import lock_organization


class OrgService:
    """The caller's organization.

    Args:
        session: Inside the org.
        caller: In whose name.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._caller = caller

    def count_members(self) -> int:
        """Returns how many members the org has."""
        return MembershipRepository(self._session, self._caller.org_id).count()

    def rename(self, name: str, if_match: IfMatch = ANY_VERSION) -> Organization:
        """Gives the org another name; its slug stays, because keys of assets carry it.

        Raises:
            PreconditionFailed: The org is another version by now.
        """
        row = self._lock(if_match)
        old = row.name
        if name != old:
            row.name = name
            self._session.flush()
            self._caller.audit(self._session).record(
                "update", "organization", row.id, old={"name": old}, new={"name": name}
            )
        return row

    def delete(
        self, confirm: str, vault: Vault, if_match: IfMatch = ANY_VERSION, *, destroy_keys: bool
    ) -> None:
        """Deletes the org.

        Args:
            confirm: The org's slug, so that no other one is deleted by mistake.
            vault: The platform's; nothing is decrypted.
            if_match: Which version may be deleted.
            destroy_keys: Whether the secrets are erased and their keys with them.

        Raises:
            Forbidden: The caller is an API key, or no owner any more.
            Invalid: `confirm` is not the slug.
            PreconditionFailed: The org is another version by now.
        """
        if self._caller.actor.kind != "user" or self._caller.actor.id is None:
            raise Forbidden("An API key cannot delete the organization; sign in.")
        if confirm != self._caller.org:
            raise Invalid.field("/confirm", f"must be the organization's slug '{self._caller.org}'")
        self._refuse_unless_owner_now(self._caller.actor.id)
        row = self._lock(if_match)
        row.deleted_at = utc_now()
        self._session.flush()
        end_access(self._session, row.id)
        if destroy_keys:
            OrgSecrets(self._session, row.id, vault).destroy()
        values = {"slug": row.slug, "name": row.name, "destroy_keys": destroy_keys}
        self._caller.audit(self._session).record("delete", "organization", row.id, new=values)
        PlatformAuditLog(self._session, self._caller.actor).record(
            "delete", "organization", row.id, new=values
        )

    def _lock(self, if_match: IfMatch) -> Organization:
        row = lock_organization(self._session, self._caller.org_id)
        if row.deleted_at is not None:
            raise NotFound(f"There is no organization '{self._caller.org}'.")
        if_match.require(row.version)
        return row

    def _refuse_unless_owner_now(self, user_id: int) -> None:
        members = MembershipRepository(self._session, self._caller.org_id)
        row = members.lock_with_owners([user_id]).get(user_id)
        if row is None or row.role != Role.OWNER:
            raise Forbidden(f"This needs the permission '{Permission.ORGS_DELETE}'.")


def end_access(session: Session, org_id: int) -> None:
    """Ends for ever what gives access to an org beside its memberships; the session is inside."""
    now = utc_now()
    ApiKeyRepository(session, org_id).revoke_all(now)
    InvitationRepository(session, org_id).revoke_all(now)
    TaskTokenRepository(session, org_id).revoke_all(now)
    SessionRepository(session).forget_org(org_id)
