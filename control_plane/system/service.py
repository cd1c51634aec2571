"""Answers whether the control plane can work, and whose session somebody presents."""

import threading
import time

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.permissions import ROLE_PERMISSIONS
from control_plane.access.sessions.service import (
    SignedIn,
    current_org,
    end_session,
    signed_in,
    user_of_token,
)
from control_plane.access.sessions.tokens import Audience, ServiceRole, TokenSigner
from control_plane.access.sign_in.visitor import Visitor
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.models import User
from control_plane.core.database import transaction
from control_plane.core.errors import Forbidden, Unauthorized
from control_plane.core.vault import Vault
from control_plane.system.schemas import Readiness, SessionView

PROBE_SECONDS = 1.0
# docs/security.md, "Limits": where the platform cannot fence jobs it says so.
ISOLATION = {
    "users": "users: each organization's jobs have users and file systems of their own",
    "namespaces": "namespaces: each job has processes and a file system of its own",
    "none": "none: jobs of all organizations run as the stack's own user",
    "unknown": "unknown: the worker hosts run elsewhere and say it there",
}


class DatabaseProbe:
    """Asks the database whether it is there and migrated, once a second for everybody who asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._is_ready = False

    def is_ready(self, factory: sessionmaker[Session]) -> bool:
        """Tells what the database said a second ago at most."""
        with self._lock:
            if time.monotonic() - self._asked_at > PROBE_SECONDS:
                self._is_ready = _is_migrated(factory)
                self._asked_at = time.monotonic()
            return self._is_ready


def check_readiness(is_database_ready: bool, vault: Vault, isolation: str) -> Readiness:
    """Tells whether requests can be served, and whether secrets can be read.

    A sealed platform is ready: somebody must reach it to unlock it.
    """
    if not is_database_ready:
        return Readiness(status="not_ready", checks={"database": "unreachable or not migrated"})
    checks = {"database": "ok", "keys": _keys(vault), "isolation": ISOLATION[isolation]}
    return Readiness(status="ready", checks=checks)


def _is_migrated(factory: sessionmaker[Session]) -> bool:
    try:
        with transaction(factory) as session:
            # Without the migrations there is no such function; one row is enough.
            session.execute(text("SELECT EXISTS (SELECT FROM active_orgs())"))
    except SQLAlchemyError:
        return False
    return True


def _keys(vault: Vault) -> str:
    # Not why: this page is everybody's, and the reason may name files and commands. And nobody
    # who is not signed in can make a thread wait for a command that hangs.
    return "sealed; an operator sees why: datanika keys status" if vault.seems_sealed else "ok"


def identify(
    session: Session, signer: TokenSigner, *, bearer: str | None, cookie: str | None
) -> SessionView:
    """Tells whose session or service token this is, for the gateway.

    Raises:
        Unauthorized: Neither is valid.
        Forbidden: A service token of a process that has no business there.
    """
    if bearer is not None:
        return _identify_bearer(session, signer, bearer)
    if cookie is None:
        raise Unauthorized("Sign in first.")
    return _person(session, signed_in(session, signer, cookie, Audience.COOKIE))


def user_of_cookie(session: Session, signer: TokenSigner, cookie: str | None) -> User | None:
    """Returns who is signed in on the platform's pages; None without a session that is alive."""
    if cookie is None:
        return None
    try:
        return user_of_token(session, signer, cookie, Audience.COOKIE)
    except Unauthorized:
        return None


def end_cookie_session(
    session: Session, signer: TokenSigner, cookie: str, visitor: Visitor
) -> None:
    """Ends the session of a cookie; one that is not valid has nothing to end."""
    try:
        person = signed_in(session, signer, cookie, Audience.COOKIE)
    except Unauthorized:
        return
    end_session(session, person.row.id)
    log = IdentityLog(session, visitor.as_actor(person.user.id, person.user.email))
    log.record(person.user.id, "logout", "session", person.row.id)


def _identify_bearer(session: Session, signer: TokenSigner, bearer: str) -> SessionView:
    try:
        claims = signer.read_service(bearer)
    except Unauthorized:
        return _person(session, signed_in(session, signer, bearer, Audience.API))
    if claims.role != ServiceRole.CONTROL_PLANE:
        raise Forbidden(f"A service token of the role '{claims.role}' may not use Dagster's API.")
    return SessionView(kind="service", name=claims.role, is_platform_operator=True)


def _person(session: Session, person: SignedIn) -> SessionView:
    org = current_org(session, person.row)
    return SessionView(
        kind="user",
        name=person.user.email,
        email=person.user.email,
        is_platform_operator=person.user.is_platform_operator,
        org=org.slug if org else None,
        org_id=org.org_id if org else None,
        role=org.role if org else None,
        permissions=sorted(ROLE_PERMISSIONS[org.role]) if org else None,
    )
