"""Starts, renews and ends sessions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from control_plane.access.sessions.models import UserSession
from control_plane.access.sessions.repository import SessionRepository
from control_plane.access.sessions.tokens import (
    ACCESS_LIFETIME,
    Audience,
    TokenSigner,
    UserClaims,
)
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.core.clock import utc_now
from control_plane.core.errors import Unauthorized
from control_plane.core.tokens import hash_token, new_token

REFRESH_LIFETIME = timedelta(days=7)
REFRESH_PREFIX = "dtr_"


@dataclass(frozen=True)
class IssuedTokens:
    """What a client gets when it signs in or renews; none of it is stored in clear."""

    access_token: str
    refresh_token: str
    cookie: str
    cookie_expires_at: datetime
    expires_in_seconds: int = int(ACCESS_LIFETIME.total_seconds())


def start_session(session: Session, signer: TokenSigner, user: User) -> IssuedTokens:
    """Starts a session of `user`."""
    row = SessionRepository(session).add(
        UserSession(user_id=user.id, expires_at=utc_now() + REFRESH_LIFETIME)
    )
    return _issue(session, signer, row)


def renew_session(session: Session, signer: TokenSigner, refresh_token: str) -> IssuedTokens | None:
    """Exchanges a refresh token for a new pair.

    A token that was used before has leaked: its whole session ends. That has to be committed, so
    the refusal is a value and not an exception.

    Returns:
        The new tokens, None where the token is unknown, used or of an ended session.
    """
    repository = SessionRepository(session)
    now = utc_now()
    token_hash = hash_token(refresh_token)
    session_id = repository.use_refresh_token(token_hash, now)
    if session_id is None:
        reused = repository.session_of_refresh_token(token_hash)
        if reused is not None:
            repository.revoke(reused, now)
        return None
    row = repository.find_live(session_id, now)
    if row is None:
        return None
    row.expires_at = now + REFRESH_LIFETIME
    return _issue(session, signer, row)


def end_session(session: Session, session_id: int) -> None:
    """Ends a session: its access, refresh and cookie tokens are refused from now on."""
    SessionRepository(session).revoke(session_id, utc_now())


def user_of_token(session: Session, signer: TokenSigner, token: str, audience: Audience) -> User:
    """Returns the user of an access token or a cookie whose session is alive.

    Raises:
        Unauthorized: Invalid token, ended session or removed user.
    """
    claims = signer.read_user(token, audience)
    live = SessionRepository(session).find_live(claims.session_id, utc_now())
    user = UserRepository(session).find(claims.user_id)
    if live is None or user is None or live.user_id != user.id:
        raise Unauthorized("The session has ended; sign in again.")
    return user


def _issue(session: Session, signer: TokenSigner, row: UserSession) -> IssuedTokens:
    refresh_token = new_token(REFRESH_PREFIX)
    SessionRepository(session).add_refresh_token(row.id, hash_token(refresh_token))
    claims = UserClaims(row.user_id, row.id)
    return IssuedTokens(
        access_token=signer.access_token(claims),
        refresh_token=refresh_token,
        cookie=signer.cookie_token(claims, row.expires_at),
        cookie_expires_at=row.expires_at,
    )
