"""Whoever holds an invitation's link: perhaps signed in, perhaps nobody yet, perhaps guessing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from control_plane.access.caller import SignerDep, bearer_token
from control_plane.access.invitations.acceptance import NewMember
from control_plane.access.session_cookie import COOKIE_NAME
from control_plane.access.sessions.models import UserSession
from control_plane.access.sessions.service import (
    IssuedTokens,
    start_session,
    switch_org,
    user_of_token,
)
from control_plane.access.sessions.tokens import Audience, TokenSigner
from control_plane.access.sign_in.visitor import Visitor, VisitorDep
from control_plane.access.throttling.service import (
    LOGIN_WINDOW,
    Counted,
    Limit,
    Throttle,
    ThrottleDep,
    client_network,
)
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.models import User
from control_plane.core.dependencies import SettingsDep
from control_plane.core.errors import Unauthorized


@dataclass(frozen=True)
class Holder:
    """Somebody who presents a link.

    Attributes:
        token: Their access token, where they sent one.
        cookie: The cookie of the platform's pages, where a browser sent one.
        signer: Reads and makes tokens.
        visitor: From where they come.
        throttle: Counts tokens that do not exist.
        attempts: How many of those an address has in the window of logins.
    """

    token: str | None
    cookie: str | None
    signer: TokenSigner
    visitor: Visitor
    throttle: Throttle
    attempts: int

    def count_attempt(self) -> list[Counted]:
        """Counts a token that may turn out wrong.

        Raises:
            Throttled: Too many wrong ones from this address.
        """
        address = self.visitor.address
        if address is None:
            return []
        limit = Limit("invitation_address", client_network(address), self.attempts, LOGIN_WINDOW)
        return self.throttle.count(limit)

    def give_back(self, counted: Sequence[Counted]) -> None:
        """Takes back what was counted: the token was right."""
        self.throttle.give_back(counted)

    def signed_in(self, session: Session) -> User | None:
        """Returns who is signed in, by an access token or else on the platform's pages.

        The cookie counts here, and nowhere else in the REST API, for people whose account has no
        password to type into the invitation's page. Whoever asks has passed `require_same_site`.

        Raises:
            Unauthorized: There is a token, and it is not valid.
        """
        if self.token is not None:
            return user_of_token(session, self.signer, self.token, Audience.API)
        if self.cookie is None:
            return None
        try:
            return user_of_token(session, self.signer, self.cookie, Audience.COOKIE)
        except Unauthorized:
            # A cookie of a session that has ended is sent all the same, also by who is new here.
            return None

    def start_session(self, session: Session, member: NewMember) -> IssuedTokens:
        """Signs a new member in, into the org that the link led to."""
        user = member.user
        tokens = start_session(session, self.signer, user, self.visitor.origin)
        row = session.get_one(UserSession, tokens.session_id)
        switch_org(session, row, member.org.slug)
        log = IdentityLog(session, self.visitor.as_actor(user.id, user.email))
        if member.is_new_user:
            log.record(user.id, "sign_up", "user", user.id)
        log.record(user.id, "login", "session", tokens.session_id)
        return tokens


async def _get_holder(
    request: Request,
    signer: SignerDep,
    visitor: VisitorDep,
    throttle: ThrottleDep,
    settings: SettingsDep,
) -> Holder:
    attempts = settings.failed_logins_per_address
    cookie = request.cookies.get(COOKIE_NAME)
    return Holder(bearer_token(request), cookie, signer, visitor, throttle, attempts)


HolderDep = Annotated[Holder, Depends(_get_holder)]
