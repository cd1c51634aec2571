"""Starts, renews and ends sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.access.sessions.models import UserSession
from control_plane.access.sessions.origin import Origin
from control_plane.access.sessions.repository import SessionRepository
from control_plane.access.sessions.tokens import (
    ACCESS_LIFETIME,
    Audience,
    TokenSigner,
    UserClaims,
)
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserOrg, UserRepository
from control_plane.core.clock import utc_now
from control_plane.core.errors import Forbidden, NotFound, Unauthorized
from control_plane.core.tokens import hash_token, new_token
from control_plane.tenancy.repository import MAXIMUM_BIGINT

REFRESH_LIFETIME = timedelta(days=7)
# From the sign-in on, however often it is renewed: whoever holds stolen tokens loses them then.
MAXIMUM_LIFETIME = timedelta(days=90)
REFRESH_PREFIX = "dtr_"
# Two tabs of one browser renew at the same moment; docs/decisions/0061 says why this gives a thief
# nothing.
PARALLEL_RENEWAL = timedelta(seconds=10)
UNKNOWN_ORIGIN = Origin()


@dataclass(frozen=True)
class IssuedTokens:
    """What a client gets when it signs in or renews; none of it is stored in clear."""

    access_token: str
    refresh_token: str
    cookie: str
    cookie_expires_at: datetime
    session_id: int
    expires_in_seconds: int = int(ACCESS_LIFETIME.total_seconds())


@dataclass(frozen=True)
class SignedIn:
    """A user and the session that their token belongs to."""

    user: User
    row: UserSession


@dataclass(frozen=True)
class Renewal:
    """What became of a refresh token.

    Attributes:
        tokens: The new ones; None where the old one is unknown, used or of an ended session.
        reused: The user and session that ended because their old token came back.
    """

    tokens: IssuedTokens | None = None
    reused: SignedIn | None = None


def start_session(
    session: Session, signer: TokenSigner, user: User, origin: Origin = UNKNOWN_ORIGIN
) -> IssuedTokens:
    """Starts a session of `user`, who works in their oldest org that is not suspended."""
    orgs = [org for org in UserRepository(session).orgs_of(user.id) if not org.is_suspended]
    row = SessionRepository(session).add(
        UserSession(
            user_id=user.id,
            current_org_id=orgs[0].org_id if orgs else None,
            ip_address=origin.ip_address,
            user_agent=origin.user_agent,
            expires_at=utc_now() + REFRESH_LIFETIME,
        )
    )
    return _issue(session, signer, row)


def renew_session(
    session: Session, signer: TokenSigner, refresh_token: str, origin: Origin = UNKNOWN_ORIGIN
) -> Renewal:
    """Exchanges a refresh token for a new pair.

    A token that was used before has leaked: its whole session ends. That has to be committed, so
    the refusal is a value and not an exception.
    """
    repository = SessionRepository(session)
    now = utc_now()
    token_hash = hash_token(refresh_token)
    session_id = repository.use_refresh_token(token_hash, now)
    if session_id is None:
        return _refuse(session, token_hash, origin, now)
    row = repository.find_live(session_id, now)
    if row is None or UserRepository(session).find(row.user_id) is None:
        return Renewal()
    row.expires_at = min(now + REFRESH_LIFETIME, row.created_at + MAXIMUM_LIFETIME)
    row.ip_address, row.user_agent = origin.ip_address, origin.user_agent
    return Renewal(_issue(session, signer, row))


def end_session(session: Session, session_id: int) -> bool:
    """Ends a session: its access, refresh and cookie tokens are refused from now on.

    Returns:
        Whether it had not ended before.
    """
    return SessionRepository(session).revoke(session_id, utc_now())


def end_own_session(session: Session, user_id: int, session_id: int) -> None:
    """Ends a session of this user.

    Raises:
        NotFound: It has ended, does not exist, or is somebody else's.
    """
    repository = SessionRepository(session)
    is_possible = 0 < session_id <= MAXIMUM_BIGINT
    row = repository.find_live(session_id, utc_now()) if is_possible else None
    if row is None or row.user_id != user_id:
        raise NotFound(f"There is no session {session_id}.")
    repository.revoke(session_id, utc_now())


def end_sessions_of(session: Session, user_id: int, *, but: int | None = None) -> None:
    """Ends all sessions of a user, except for `but`."""
    SessionRepository(session).revoke_of_user(user_id, utc_now(), but=but)


def page_sessions(
    session: Session, user_id: int, before_id: int | None, limit: int
) -> Sequence[UserSession]:
    """Returns a user's live sessions, newest first."""
    return SessionRepository(session).page_live(user_id, utc_now(), before_id, limit)


def signed_in(session: Session, signer: TokenSigner, token: str, audience: Audience) -> SignedIn:
    """Returns the user and the session of an access token or a cookie.

    Raises:
        Unauthorized: Invalid token, ended session or removed user.
    """
    claims = signer.read_user(token, audience)
    live = SessionRepository(session).find_live(claims.session_id, utc_now())
    user = UserRepository(session).find(claims.user_id)
    if live is None or user is None or live.user_id != user.id:
        raise Unauthorized("The session has ended; sign in again.")
    return SignedIn(user, live)


def user_of_token(session: Session, signer: TokenSigner, token: str, audience: Audience) -> User:
    """Returns the user of an access token or a cookie whose session is alive.

    Raises:
        Unauthorized: Invalid token, ended session or removed user.
    """
    return signed_in(session, signer, token, audience).user


def current_org(session: Session, row: UserSession) -> UserOrg | None:
    """Returns the org that a session works in.

    None where it has none, where that org is suspended or deleted, and where the user has left it.
    """
    for org in UserRepository(session).orgs_of(row.user_id):
        if org.org_id == row.current_org_id:
            return None if org.is_suspended else org
    return None


def switch_org(session: Session, row: UserSession, slug: str) -> UserOrg:
    """Makes a session work in another of its user's orgs.

    Raises:
        NotFound: The user has no such org.
        Forbidden: It is suspended.
    """
    for org in UserRepository(session).orgs_of(row.user_id):
        if org.slug != slug:
            continue
        if org.is_suspended:
            raise Forbidden(f"The organization '{slug}' is suspended.")
        row.current_org_id = org.org_id
        session.flush()
        return org
    raise NotFound(f"There is no organization '{slug}'.")


def _refuse(session: Session, token_hash: str, origin: Origin, now: datetime) -> Renewal:
    """Ends the session of a token that comes back, unless it is one browser's parallel tabs."""
    found = SessionRepository(session).find_used_token(token_hash)
    if found is None:
        return Renewal()
    row, used_at = found
    is_parallel = used_at is not None and now - used_at <= PARALLEL_RENEWAL
    same_client = origin == Origin(row.ip_address, row.user_agent) != UNKNOWN_ORIGIN
    if is_parallel and same_client:
        return Renewal()
    user = UserRepository(session).find(row.user_id)
    if not SessionRepository(session).revoke(row.id, now) or user is None:
        return Renewal()
    return Renewal(reused=SignedIn(user, row))


def _issue(session: Session, signer: TokenSigner, row: UserSession) -> IssuedTokens:
    refresh_token = new_token(REFRESH_PREFIX)
    SessionRepository(session).add_refresh_token(row.id, hash_token(refresh_token))
    claims = UserClaims(row.user_id, row.id)
    return IssuedTokens(
        access_token=signer.access_token(claims),
        refresh_token=refresh_token,
        cookie=signer.cookie_token(claims, row.expires_at),
        cookie_expires_at=row.expires_at,
        session_id=row.id,
    )
