"""The session that a request's access token belongs to, for routes about the session itself."""

from typing import Annotated

from fastapi import Depends, Request

from control_plane.access.caller import SignerDep, UserDep, required_bearer
from control_plane.access.sessions.service import SignedIn, signed_in
from control_plane.access.sessions.tokens import Audience
from control_plane.core.dependencies import SessionDep


def current_session(
    request: Request, session: SessionDep, signer: SignerDep, user: UserDep
) -> SignedIn:
    """Returns the signed-in user and their session.

    Raises:
        Unauthorized: No access token, or none that is valid.
    """
    # `user` is the gate that every such route has; the row comes on top of it.
    return signed_in(session, signer, required_bearer(request), Audience.API)


CurrentSessionDep = Annotated[SignedIn, Depends(current_session)]
