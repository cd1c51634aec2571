"""Whether those for whom a task token was made may still have what it gives.

A role that was taken away, a key that was revoked and an org that was suspended count at once,
also for tokens that were made before.
"""

from sqlalchemy.orm import Session

from control_plane.access.key_store.repository import ApiKeyRepository
from control_plane.access.permissions import ROLE_PERMISSIONS, Permission
from control_plane.access.task_tokens.models import TaskToken
from control_plane.access.users.repository import UserRepository
from control_plane.core.clock import utc_now
from control_plane.core.errors import Forbidden
from control_plane.tenancy.service import get_organization

RUN = "run"


def refuse_unless_entitled(session: Session, token: TaskToken) -> None:
    """Checks the org and whoever the token was made for, as they are now.

    Args:
        session: Inside the token's org.
        token: A live token.

    Raises:
        Forbidden: The org is suspended or deleted, or its user or key may not do this any more.
    """
    org = get_organization(session, token.org_id)
    if org.is_suspended or org.deleted_at is not None:
        raise Forbidden(f"The organization '{org.slug}' is suspended or deleted.")
    if token.actor_kind == "system":
        return
    permissions = _permissions_now(session, token)
    # What a task does was checked a moment ago; a run may have waited.
    is_enough = Permission.RUNS_RUN in permissions if token.purpose == RUN else bool(permissions)
    if not is_enough:
        raise Forbidden(f"'{token.actor_name}' may not do this in '{org.slug}' any more.")


def _permissions_now(session: Session, token: TaskToken) -> frozenset[Permission]:
    if token.actor_kind == "user":
        return _of_user(session, token.org_id, token.actor_id)
    key = ApiKeyRepository(session, token.org_id).find(token.actor_id or 0)
    if key is None or key.revoked_at is not None:
        return frozenset()
    if key.expires_at is not None and key.expires_at <= utc_now():
        return frozenset()
    return _of_user(session, token.org_id, key.created_by_user_id).intersection(key.scopes)


def _of_user(session: Session, org_id: int, user_id: int | None) -> frozenset[Permission]:
    users = UserRepository(session)
    if user_id is None or users.find(user_id) is None:
        return frozenset()
    for org in users.orgs_of(user_id):
        if org.org_id == org_id:
            return ROLE_PERMISSIONS[org.role]
    return frozenset()
