"""Whether those for whom a task token was made may still have what it gives.

A role that was taken away, a key that was revoked and an org that was suspended count at once,
also for tokens that were made before.
"""

from sqlalchemy.orm import Session

from control_plane.access.key_store.repository import ApiKeyRepository
from control_plane.access.permissions import ROLE_PERMISSIONS, SHELL_RUN, Permission
from control_plane.access.users.repository import UserRepository
from control_plane.audit.service import Actor
from control_plane.core.clock import utc_now
from control_plane.core.errors import Forbidden
from control_plane.tenancy.service import get_organization

RUN_PURPOSE = "run"
SHELL_RUN_PURPOSE = "shell_run"
# What a task does was checked a moment ago; a run may have waited.
_NEEDED = {RUN_PURPOSE: frozenset({Permission.RUNS_RUN}), SHELL_RUN_PURPOSE: SHELL_RUN}


def refuse_unless_entitled(session: Session, org_id: int, actor: Actor, purpose: str) -> None:
    """Checks the org and whoever a token was or is to be made for, as they are now.

    Args:
        session: Inside the org.
        org_id: The org.
        actor: In whose name the work is done.
        purpose: What the token is for.

    Raises:
        Forbidden: The org is suspended or deleted, or its user or key may not do this any more.
    """
    org = get_organization(session, org_id)
    if org.is_suspended or org.deleted_at is not None:
        raise Forbidden(f"The organization '{org.slug}' is suspended or deleted.")
    if actor.kind == "system":
        return
    permissions = _permissions_now(session, org_id, actor)
    if not permissions or not permissions >= _NEEDED.get(purpose, frozenset()):
        raise Forbidden(f"'{actor.name}' may not do this in '{org.slug}' any more.")


def _permissions_now(session: Session, org_id: int, actor: Actor) -> frozenset[Permission]:
    if actor.kind == "user":
        return _of_user(session, org_id, actor.id)
    key = ApiKeyRepository(session, org_id).find(actor.id or 0)
    if key is None or key.revoked_at is not None:
        return frozenset()
    if key.expires_at is not None and key.expires_at <= utc_now():
        return frozenset()
    return _of_user(session, org_id, key.created_by_user_id).intersection(key.scopes)


def _of_user(session: Session, org_id: int, user_id: int | None) -> frozenset[Permission]:
    users = UserRepository(session)
    if user_id is None or users.find(user_id) is None:
        return frozenset()
    for org in users.orgs_of(user_id):
        if org.org_id == org_id:
            return ROLE_PERMISSIONS[org.role]
    return frozenset()
