"""Answers whether the control plane can work, and whose session somebody presents."""

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from control_plane.access.sessions.service import user_of_token
from control_plane.access.sessions.tokens import Audience, ServiceRole, TokenSigner
from control_plane.core.errors import Forbidden, Unauthorized
from control_plane.system.schemas import Readiness, SessionView

# docs/security.md, "Limits": where the platform cannot fence jobs it says so.
ISOLATION = "single-trust: jobs of all organizations run as the stack's own user"


def check_readiness(session: Session) -> Readiness:
    """Checks the database and that it is migrated."""
    try:
        session.execute(text("SELECT 1 FROM active_orgs() LIMIT 1"))
    except SQLAlchemyError:
        return Readiness(status="not_ready", checks={"database": "unreachable or not migrated"})
    return Readiness(status="ready", checks={"database": "ok", "isolation": ISOLATION})


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
    user = user_of_token(session, signer, cookie, Audience.COOKIE)
    return _user_view(user.email, is_platform_operator=user.is_platform_operator)


def _identify_bearer(session: Session, signer: TokenSigner, bearer: str) -> SessionView:
    try:
        claims = signer.read_service(bearer)
    except Unauthorized:
        user = user_of_token(session, signer, bearer, Audience.API)
        return _user_view(user.email, is_platform_operator=user.is_platform_operator)
    if claims.role != ServiceRole.CONTROL_PLANE:
        raise Forbidden(f"A service token of the role '{claims.role}' may not use Dagster's API.")
    return SessionView(kind="service", name=claims.role, is_platform_operator=True)


def _user_view(email: str, *, is_platform_operator: bool) -> SessionView:
    return SessionView(
        kind="user", name=email, email=email, is_platform_operator=is_platform_operator
    )
