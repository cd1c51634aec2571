"""`/api/v1/auth/sessions`: where a person is signed in."""

from fastapi import APIRouter

from control_plane.access.current_session import CurrentSessionDep
from control_plane.access.session_list.schemas import SessionView
from control_plane.access.sessions.service import end_own_session, page_sessions
from control_plane.access.sign_in.visitor import VisitorDep
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.service import list_orgs
from control_plane.core.dependencies import SessionDep
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cursor_id,
    cut,
    encode_cursor,
)

router = APIRouter(prefix="/auth/sessions", tags=["sign-in"])


@router.get("")
def list_sessions(
    session: SessionDep,
    current: CurrentSessionDep,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[SessionView]:
    """Lists the sessions of the signed-in user that have not ended, newest first."""
    found = page_sessions(session, current.user.id, cursor_id(cursor), limit + 1)
    rows, has_more = cut(found, limit)
    slugs = {
        org.org_id: org.slug for org in list_orgs(session, current.user.id) if not org.is_suspended
    }
    data = [
        SessionView(
            id=row.id,
            created_at=row.created_at,
            expires_at=row.expires_at,
            ip_address=row.ip_address,
            user_agent=row.user_agent,
            is_current=row.id == current.row.id,
            current_org=slugs.get(row.current_org_id or 0),
        )
        for row in rows
    ]
    return Page(data=data, next_cursor=encode_cursor(data[-1].id) if has_more else None)


@router.delete("/{session_id}", status_code=204)
def delete_session(
    session_id: int, session: SessionDep, current: CurrentSessionDep, visitor: VisitorDep
) -> None:
    """Ends one of the signed-in user's sessions, with its access, refresh and cookie tokens."""
    end_own_session(session, current.user.id, session_id)
    log = IdentityLog(session, visitor.as_actor(current.user.id, current.user.email))
    log.record(current.user.id, "logout", "session", session_id)
