"""Mints, redeems and revokes task tokens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.task_tokens.errors import TaskTokenUsed
from control_plane.access.task_tokens.holders import refuse_unless_entitled
from control_plane.access.task_tokens.models import TaskToken
from control_plane.access.task_tokens.repository import TaskTokenRepository
from control_plane.audit.service import Actor, AuditLog
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org, transaction
from control_plane.core.errors import Unauthorized
from control_plane.core.tokens import hash_token, new_token
from control_plane.tenancy.repository import MAXIMUM_BIGINT
from control_plane.tenancy.service import list_org_ids

LIFETIME = timedelta(minutes=10)
KEPT_AFTER_EXPIRY = timedelta(hours=1)
MAXIMUM_DELETED = 10_000
# The org is part of the token, so that it can be looked up under row-level security.
TOKEN_PATTERN = re.compile(r"^dtk_([1-9][0-9]{0,18})_[A-Za-z0-9_-]{43}$")


@dataclass(frozen=True)
class MintedToken:
    """A new token; its text is not stored."""

    token: str
    expires_at: datetime


def mint_token(
    session: Session,
    org_id: int,
    actor: Actor,
    *,
    purpose: str,
    connection_ids: Sequence[int],
    run_id: str | None = None,
) -> MintedToken:
    """Makes a token for one run or one interactive task.

    Args:
        session: Inside the org.
        org_id: The org.
        actor: In whose name the work is done.
        purpose: `run`, `shell_run`, or the kind of the task.
        connection_ids: The connections whose credentials it gives.
        run_id: The run, when it is one.
    """
    token = new_token(f"dtk_{org_id}_")
    expires_at = utc_now() + LIFETIME
    TaskTokenRepository(session, org_id).add(
        TaskToken(
            org_id=org_id,
            token_hash=hash_token(token),
            purpose=purpose,
            run_id=run_id,
            connection_ids=sorted(set(connection_ids)),
            actor_kind=actor.kind,
            actor_id=actor.id,
            actor_name=actor.name,
            expires_at=expires_at,
        )
    )
    return MintedToken(token, expires_at)


def mint_task_token(
    factory: sessionmaker[Session],
    org_id: int,
    actor: Actor,
    *,
    purpose: str,
    connection_ids: Sequence[int],
) -> str:
    """Makes and commits a token for a task that starts while the request still runs."""
    with transaction(factory, org_id) as session:
        return mint_token(
            session, org_id, actor, purpose=purpose, connection_ids=connection_ids
        ).token


def redeem_token(
    session: Session,
    token: str,
    *,
    ip_address: str | None = None,
    request_id: str | None = None,
) -> TaskToken:
    """Uses a token up and leaves the session inside its org.

    Args:
        session: In no org yet.
        token: As it was presented.
        ip_address: Where the request came from.
        request_id: Ties the audit entry to the request's log lines.

    Raises:
        TaskTokenUsed: It was redeemed before, and is not revoked.
        Unauthorized: Unknown, expired or revoked.
        Forbidden: The org is suspended or deleted, or whoever it was made for may not any more.
    """
    org_id = _enter(session, token)
    tokens = TaskTokenRepository(session, org_id)
    row = tokens.redeem(hash_token(token), utc_now())
    if row is None:
        raise TaskTokenUsed if tokens.is_used(hash_token(token)) else _refused()
    actor = Actor(row.actor_kind, row.actor_id, row.actor_name, ip_address, request_id)
    refuse_unless_entitled(session, org_id, actor, row.purpose)
    AuditLog(session, org_id, actor).record(
        "secret_access",
        "task_token",
        row.id,
        new={
            "purpose": row.purpose,
            "run_id": row.run_id,
            "connection_ids": row.connection_ids,
        },
    )
    return row


def extend_token(factory: sessionmaker[Session], token: str) -> None:
    """Lets a token that could not be redeemed live on: the platform was sealed, nobody's fault.

    In a transaction of its own, after the one that tried to redeem it has been taken back.
    """
    now = utc_now()
    with transaction(factory) as session:
        org_id = _enter(session, token)
        TaskTokenRepository(session, org_id).extend(hash_token(token), now, now + LIFETIME)


def org_of_token(session: Session, token: str) -> int:
    """Returns the org of a live token, redeemed or not, and leaves the session inside it.

    Raises:
        Unauthorized: Unknown, expired or revoked.
        Forbidden: The org is suspended or deleted, or whoever it was made for may not any more.
    """
    org_id = _enter(session, token)
    row = TaskTokenRepository(session, org_id).find_live(hash_token(token), utc_now())
    if row is None:
        raise _refused()
    actor = Actor(row.actor_kind, row.actor_id, row.actor_name)
    refuse_unless_entitled(session, org_id, actor, row.purpose)
    return org_id


def revoke_run_tokens(session: Session, org_id: int, run_id: str) -> None:
    """Makes the tokens of a run useless; the session is inside the org."""
    TaskTokenRepository(session, org_id).revoke_of_run(run_id, utc_now())


def revoke_token(factory: sessionmaker[Session], org_id: int, token: str) -> None:
    """Makes the token of a task that has ended useless, used or not."""
    with transaction(factory, org_id) as session:
        TaskTokenRepository(session, org_id).revoke(hash_token(token), utc_now())


def delete_expired_tokens(factory: sessionmaker[Session]) -> int:
    """Removes the tokens of all orgs that expired a while ago, and returns how many.

    What they were used for is in the audit log. Deleted and suspended orgs' go too.
    """
    before = utc_now() - KEPT_AFTER_EXPIRY
    with transaction(factory) as session:
        org_ids = list_org_ids(session)
    deleted = 0
    for org_id in org_ids:
        with transaction(factory, org_id) as session:
            tokens = TaskTokenRepository(session, org_id)
            deleted += tokens.delete_expired(before, MAXIMUM_DELETED)
    return deleted


def _enter(session: Session, token: str) -> int:
    match = TOKEN_PATTERN.fullmatch(token)
    if match is None:
        raise _refused()
    org_id = int(match.group(1))
    if org_id > MAXIMUM_BIGINT:
        raise _refused()
    enter_org(session, org_id)
    return org_id


def _refused() -> Unauthorized:
    return Unauthorized("The task token is not valid or has expired.")
