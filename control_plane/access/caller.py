"""Who calls, and whether they may: the one place where roles and key scopes are combined.

Every route of an org declares `Require(Permission.…)`; a route of the platform declares
`RequireOperator`, an internal one `RequireService`. The architecture tests enumerate them.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from control_plane.access.key_store.repository import ApiKeyRepository, KeyOwner, find_key_by_hash
from control_plane.access.key_store.uses import KeyUses
from control_plane.access.permissions import ROLE_PERMISSIONS, Permission, Role, may_give
from control_plane.access.sessions.members import member_of_token
from control_plane.access.sessions.service import user_of_token
from control_plane.access.sessions.tokens import Audience, ServiceClaims, ServiceRole, TokenSigner
from control_plane.access.users.models import User
from control_plane.audit.service import Actor, AuditLog
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_by_first_statement, transaction
from control_plane.core.dependencies import SessionDep, SettingsDep, get_session_factory
from control_plane.core.errors import Forbidden, NotFound, Unauthorized
from control_plane.core.requests import client_address, trace_id
from control_plane.core.tokens import hash_token
from control_plane.settings import Settings

API_KEY_PREFIX = "etf_"
LAST_USED_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True)
class Caller:
    """Somebody inside an org, with what they may do there now."""

    org_id: int
    org: str
    actor: Actor
    role: Role
    permissions: frozenset[Permission]

    def may_give(self, role: Role, *, acting: Role | None = None) -> bool:
        """Tells whether the caller may make others `role`, or change those who are.

        A key does so only where it has everything that the role has: with a narrow one nobody
        makes themselves more than it.

        Args:
            role: The role to give or to take.
            acting: The role of the user, or of the key's creator, where it was read again.
        """
        if self.actor.kind == "api_key" and not ROLE_PERMISSIONS[role] <= self.permissions:
            return False
        return may_give(acting or self.role, role)

    def audit(self, session: Session) -> AuditLog:
        """Returns the org's audit log, writing in this caller's name."""
        return AuditLog(session, self.org_id, self.actor)


async def get_signer(request: Request) -> TokenSigner:
    """Returns the application's token signer; a coroutine, so that it takes no thread."""
    return cast("TokenSigner", request.app.state.signer)


SignerDep = Annotated[TokenSigner, Depends(get_signer)]


def bearer_token(request: HTTPConnection) -> str | None:
    """Returns the token of the `Authorization: Bearer` header, None without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def required_bearer(request: HTTPConnection) -> str:
    """Returns the token of the `Authorization: Bearer` header.

    Raises:
        Unauthorized: There is none.
    """
    token = bearer_token(request)
    if token is None:
        raise Unauthorized("Send an access token: Authorization: Bearer …")
    return token


def current_user(request: Request, session: SessionDep, signer: SignerDep) -> User:
    """Returns the signed-in user.

    Raises:
        Unauthorized: No access token, or none that is valid.
    """
    return user_of_token(session, signer, required_bearer(request), Audience.API)


UserDep = Annotated[User, Depends(current_user)]


class Require:
    """The dependency of a route in an org: resolves the caller and checks one permission.

    An org that the caller does not belong to is a 404, like one that does not exist.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    def __call__(
        self,
        request: Request,
        org: str,
        session: SessionDep,
        signer: SignerDep,
        settings: SettingsDep,
    ) -> Caller:
        """Returns the caller, with the session inside the org."""
        caller = resolve_caller(request, org, session, signer, settings)
        if self.permission not in caller.permissions:
            raise Forbidden(
                f"This needs the permission '{self.permission}'; "
                f"{caller.actor.name} has the role '{caller.role}' and not that."
            )
        return caller


def resolve_caller(
    request: HTTPConnection,
    org: str,
    session: Session,
    signer: TokenSigner,
    settings: Settings,
) -> Caller:
    """Finds out who calls and enters the org.

    Raises:
        Unauthorized: No valid token or key.
        NotFound: The caller has no such org.
        Forbidden: The org is suspended.
    """
    key = request.headers.get(settings.api_key_header)
    enter_by_first_statement(session)
    if key is not None:
        caller, is_suspended = _caller_of_key(request, org, session, key)
    else:
        caller, is_suspended = _caller_of_user(request, org, session, signer)
    if is_suspended:
        raise Forbidden(f"The organization '{org}' is suspended.")
    return caller


def _caller_of_user(
    request: HTTPConnection, org: str, session: Session, signer: TokenSigner
) -> tuple[Caller, bool]:
    member = member_of_token(session, signer, required_bearer(request), org)
    if member.org_id is None or member.role is None:
        raise NotFound(f"There is no organization '{org}'.")
    actor = actor_of(request, "user", member.user_id, member.email)
    caller = Caller(member.org_id, org, actor, member.role, ROLE_PERMISSIONS[member.role])
    return caller, member.is_suspended


def _caller_of_key(
    request: HTTPConnection, org: str, session: Session, key: str
) -> tuple[Caller, bool]:
    owner = find_key(session, key)
    if owner.org_slug != org:
        raise NotFound(f"There is no organization '{org}'.")
    actor = actor_of(request, "api_key", owner.key_id, owner.name)
    permissions = ROLE_PERMISSIONS[owner.creator_role].intersection(
        permission for permission in Permission if permission in owner.scopes
    )
    caller = Caller(owner.org_id, owner.org_slug, actor, owner.creator_role, permissions)
    _note_use(request, owner)
    return caller, owner.is_suspended


def _note_use(request: HTTPConnection, owner: KeyOwner) -> None:
    uses = cast("KeyUses", request.app.state.key_uses)
    if not uses.is_due(owner.key_id):
        return
    # In a transaction of its own: a slow request must not keep the key's row locked.
    with transaction(get_session_factory(request), owner.org_id) as session:
        now = utc_now()
        keys = ApiKeyRepository(session, owner.org_id)
        keys.touch(owner.key_id, now, now - LAST_USED_RESOLUTION)


def find_key(session: Session, key: str) -> KeyOwner:
    """Returns whose API key this is.

    Raises:
        Unauthorized: Unknown, expired or revoked, or its creator has left.
    """
    owner = find_key_by_hash(session, hash_token(key)) if key.startswith(API_KEY_PREFIX) else None
    if owner is None:
        raise Unauthorized("The API key is not valid, has expired or was revoked.")
    return owner


def actor_of(request: HTTPConnection, kind: str, actor_id: int | None, name: str) -> Actor:
    """Returns who does something with this request, for the audit log.

    Args:
        request: Says from where.
        kind: `user` or `api_key`.
        actor_id: Its id; None for somebody unknown.
        name: An e-mail address or a key's name.
    """
    return Actor(kind, actor_id, name, client_address(request), trace_id(request))


class RequireOperator:
    """The dependency of a platform route: a signed-in platform operator."""

    def __call__(self, user: UserDep) -> User:
        """Returns the operator."""
        if not user.is_platform_operator:
            raise Forbidden("Only a platform operator may do this.")
        return user


class RequireService:
    """The dependency of an internal route: a service token of one of `roles`."""

    def __init__(self, *roles: ServiceRole) -> None:
        self.roles = roles

    def __call__(self, request: Request, signer: SignerDep) -> ServiceClaims:
        """Returns what the token says."""
        token = bearer_token(request)
        if token is None:
            raise Unauthorized("Send a service token.")
        claims = signer.read_service(token)
        if claims.role not in self.roles:
            raise Forbidden(f"A service token of the role '{claims.role}' may not do this.")
        return claims


OperatorDep = Annotated[User, Depends(RequireOperator())]
