"""Who stands behind an intent: the person whose session the gateway passes on, in the org it works in."""

from fastapi import Request
from sqlalchemy.orm import Session

from control_plane.access.caller import Caller, actor_of
from control_plane.access.permissions import ROLE_PERMISSIONS
from control_plane.access.session_cookie import COOKIE_NAME
from control_plane.access.sessions.service import SignedIn, current_org, signed_in
from control_plane.access.sessions.tokens import Audience, TokenSigner
from control_plane.core.database import enter_org
from control_plane.core.errors import NotFound, Unauthorized

PERSON_HEADER = "x-person-authorization"
"""Holds a person's `Bearer` token; the gateway's own is in `Authorization`."""


def caller_behind(request: Request, session: Session, signer: TokenSigner, org: str) -> Caller:
    """Returns who declares an intent, and enters the org.

    Raises:
        Unauthorized: Nobody, or their session has ended.
        NotFound: Their session works in another org, or in one that is suspended.
    """
    person = _signed_in(request, session, signer)
    found = current_org(session, person.row)
    if found is None or found.slug != org:
        raise NotFound(f"This session does not work in the organization '{org}'.")
    enter_org(session, found.org_id)
    actor = actor_of(request, "user", person.user.id, person.user.email)
    return Caller(found.org_id, found.slug, actor, found.role, ROLE_PERMISSIONS[found.role])


def _signed_in(request: Request, session: Session, signer: TokenSigner) -> SignedIn:
    scheme, _, token = request.headers.get(PERSON_HEADER, "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return signed_in(session, signer, token.strip(), Audience.API)
    cookie = request.cookies.get(COOKIE_NAME)
    if cookie is None:
        raise Unauthorized("An intent is somebody's: their session is missing.")
    return signed_in(session, signer, cookie, Audience.COOKIE)
