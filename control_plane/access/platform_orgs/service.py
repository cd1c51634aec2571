"""What operators do with organizations, from outside: nothing in here reads what is inside one.

Everything is in the platform's audit log and in the org's own, where its members see it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.invitations.service import IssuedInvitation, issue
from control_plane.access.orgs.service import end_access
from control_plane.access.permissions import Role
from control_plane.audit.service import Actor, AuditLog, PlatformAuditLog
from control_plane.core.database import enter_org
from control_plane.core.errors import InvalidState
from control_plane.core.restorations import Restorations
from control_plane.core.vault import Vault
from control_plane.tenancy.models import Organization
from control_plane.tenancy.secrets import OrgSecrets
from control_plane.tenancy.service import (
    PlatformOrg,
    create_organization,
    get_platform_org,
    lock_organization,
    page_platform_orgs,
)


class PlatformOrgService:
    """Every organization of the platform.

    Args:
        session: In no org; the changes leave it inside the org that they concern.
        actor: The operator.
    """

    def __init__(self, session: Session, actor: Actor) -> None:
        self._session = session
        self._actor = actor

    def page(self, after_id: int | None, limit: int) -> Sequence[PlatformOrg]:
        """Returns orgs by id, suspended and deleted ones too, those after `after_id`."""
        return page_platform_orgs(self._session, after_id, limit)

    def create_org(
        self, vault: Vault, name: str, owner_email: str
    ) -> tuple[Organization, IssuedInvitation]:
        """Makes an org and invites somebody to own it; until then it has no member.

        Args:
            vault: Wraps the org's data key.
            name: The org's name.
            owner_email: In lower case.

        Raises:
            Sealed: There is no key to wrap the org's data key with.
        """
        row = create_organization(self._session, vault, name)
        issued = issue(self._session, row.id, owner_email, Role.OWNER, invited_by_user_id=None)
        self._record("create", row, new={"slug": row.slug, "name": row.name})
        self._audit(row).record(
            "create", "invitation", issued.row.id, new={"email": owner_email, "role": Role.OWNER}
        )
        return row, issued

    def suspend(self, slug: str) -> Organization:
        """Shuts an org: nobody gets in, and nothing of it starts, until it is resumed.

        Raises:
            NotFound: No org has this slug.
            InvalidState: It is deleted.
        """
        return self._set_suspended(slug, is_suspended=True)

    def resume(self, slug: str) -> Organization:
        """Opens a suspended org again.

        Raises:
            NotFound: No org has this slug.
            InvalidState: It is deleted.
        """
        return self._set_suspended(slug, is_suspended=False)

    def set_quota(
        self, slug: str, parallel_runs: int | None, runs_per_hour: int | None
    ) -> Organization:
        """Sets what an org may run; None is what the platform's settings say.

        Raises:
            NotFound: No org has this slug.
        """
        row = self._lock(slug)
        old = {"parallel_runs": row.parallel_runs, "runs_per_hour": row.runs_per_hour}
        new = {"parallel_runs": parallel_runs, "runs_per_hour": runs_per_hour}
        if new != old:
            row.parallel_runs, row.runs_per_hour = parallel_runs, runs_per_hour
            self._session.flush()
            self._record("set_quota", row, old=old, new=new)
        return row

    def restore(self, slug: str, vault: Vault, restorations: Restorations) -> Organization:
        """Brings a deleted org back, with its members, and without what ended for ever.

        Args:
            slug: Which org.
            vault: Wraps a new data key, where the old ones were destroyed.
            restorations: What features make anew.

        Raises:
            NotFound: No org has this slug.
            InvalidState: It is not deleted.
            Sealed: A data key is needed, and there is no key to wrap it with.
        """
        row = self._lock(slug)
        if row.deleted_at is None:
            raise InvalidState(f"The organization '{slug}' is not deleted.")
        old = {"deleted_at": row.deleted_at.isoformat()}
        row.deleted_at = None
        self._session.flush()
        # Also what was made by a request that was under way while the org was deleted.
        end_access(self._session, row.id)
        secrets = OrgSecrets(self._session, row.id, vault)
        if not secrets.has_data_key():
            secrets.add_data_key()
        restorations.run(self._session, row.id)
        self._record("restore", row, old=old, new={"deleted_at": None})
        return row

    def _set_suspended(self, slug: str, *, is_suspended: bool) -> Organization:
        row = self._lock(slug)
        if row.deleted_at is not None:
            raise InvalidState(f"The organization '{slug}' is deleted; restore it first.")
        if row.is_suspended != is_suspended:
            row.is_suspended = is_suspended
            self._session.flush()
            action = "suspend" if is_suspended else "resume"
            old, new = {"is_suspended": not is_suspended}, {"is_suspended": is_suspended}
            self._record(action, row, old=old, new=new)
        return row

    def _lock(self, slug: str) -> Organization:
        org_id = get_platform_org(self._session, slug).id
        enter_org(self._session, org_id)
        return lock_organization(self._session, org_id)

    def _audit(self, row: Organization) -> AuditLog:
        return AuditLog(self._session, row.id, self._actor)

    def _record(
        self,
        action: str,
        row: Organization,
        *,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
    ) -> None:
        for log in (self._audit(row), PlatformAuditLog(self._session, self._actor)):
            log.record(action, "organization", row.id, old=old, new=new)
        self._session.flush()
