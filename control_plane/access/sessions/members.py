"""Who a token belongs to and what they are in one org, in a single query: every request asks."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.access.permissions import Role
from control_plane.access.sessions.tokens import Audience, TokenSigner
from control_plane.core.database import entered
from control_plane.core.errors import Unauthorized

# A session that lives, its user, and that user's membership in the org where there is one. The
# same round trip tells PostgreSQL which org the transaction is in (`core/database.py`).
MEMBER_OF_SESSION = text(
    """
    SELECT u.id, u.email, m.org_id, m.role, m.is_suspended,
           set_config('app.org_id', coalesce(m.org_id::text, ''), true)
    FROM user_sessions s
    JOIN users u ON u.id = s.user_id AND u.deleted_at IS NULL
    LEFT JOIN LATERAL (SELECT * FROM memberships_of(u.id) o WHERE o.slug = :org) m ON true
    WHERE s.id = :session_id AND s.user_id = :user_id
      AND s.revoked_at IS NULL AND s.expires_at > now()
    """
)


@dataclass(frozen=True)
class SignedInMember:
    """A signed-in user as an org sees them; org and role are None for somebody else's org."""

    user_id: int
    email: str
    org_id: int | None
    role: Role | None
    is_suspended: bool


def member_of_token(session: Session, signer: TokenSigner, token: str, org: str) -> SignedInMember:
    """Returns the user of an access token and their role in `org` now, and enters that org.

    Raises:
        Unauthorized: Invalid token, ended session or removed user.
    """
    claims = signer.read_user(token, Audience.API)
    row = session.execute(
        MEMBER_OF_SESSION,
        {"org": org, "session_id": claims.session_id, "user_id": claims.user_id},
    ).one_or_none()
    if row is None:
        raise Unauthorized("The session has ended; sign in again.")
    if row.org_id is not None:
        entered(session, row.org_id)
    return SignedInMember(
        row.id, row.email, row.org_id, Role(row.role) if row.role else None, bool(row.is_suspended)
    )
