"""Makes one-time links with which a person sets a new password, and redeems them.

A link is good for an hour and one use. Redeeming it ends every session of the person and every other
link. Whoever asks for a link learns nothing: the account is looked up after the answer has gone out.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.first_proof.service import end_credentials
from control_plane.access.password_resets.models import PasswordReset
from control_plane.access.password_resets.repository import PasswordResetRepository
from control_plane.access.sessions.service import end_sessions_of
from control_plane.access.sign_in.visitor import Visitor, VisitorDep
from control_plane.access.throttling.service import (
    Limit,
    Throttle,
    logins_from,
    password_resets_from,
)
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import checked_password, hash_new_password
from control_plane.audit.service import Actor
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.dependencies import MailerDep, SessionFactoryDep, SettingsDep
from control_plane.core.errors import DatanikaError, Invalid, NotFound
from control_plane.core.mail import Mailer
from control_plane.core.tokens import hash_token, new_token
from control_plane.settings import Settings

logger = logging.getLogger(__name__)
LIFETIME = timedelta(hours=1)
TOKEN_PREFIX = "dtp_"  # noqa: S105 - the prefix of every such token
PAGE_PATH = "/password-reset"
# So that nobody's mailbox can be filled.
MAILS_PER_ACCOUNT = 5
MAIL_WINDOW = timedelta(hours=1)
SUBJECT = "Set a new password for Datanika"
TEXT = """Somebody asked to set a new password for the Datanika account {email}.

If it was you, open this link within an hour:

{link}

If it was not you, do nothing: your password stays as it is.
"""


@dataclass(frozen=True)
class ResetLink:
    """A link; shown once, kept nowhere."""

    link: str = field(repr=False)
    expires_at: datetime


class PasswordResets:
    """One-time links, for one visitor.

    Args:
        factory: Makes sessions.
        settings: Limits and the platform's own URL.
        mailer: Sends the links.
        visitor: Who asks.
    """

    def __init__(
        self,
        factory: sessionmaker[Session],
        settings: Settings,
        mailer: Mailer,
        visitor: Visitor,
    ) -> None:
        self._factory = factory
        self._settings = settings
        self._mailer = mailer
        self._visitor = visitor
        self._throttle = Throttle(factory)

    def count_request(self, email: str) -> None:
        """Counts that somebody asks for a link; the same whether the account exists.

        Raises:
            Throttled: Too many requests for this account or from this address.
        """
        account = Limit("password_reset_account", email.lower(), MAILS_PER_ACCOUNT, MAIL_WINDOW)
        self._throttle.count(password_resets_from(self._settings, self._visitor.address), account)

    def mail_link(self, email: str) -> None:
        """Mails a link, where there is such an account and a mail server."""
        if not self._mailer.is_configured:
            return
        with transaction(self._factory) as session:
            user = UserRepository(session).find_by_email(email.lower())
            if user is None:
                return
            made = _make_link(session, self._settings, user, is_mailed=True)
            log = IdentityLog(session, self._visitor.as_actor(None, user.email))
            log.record(user.id, "password_reset_mail", "user", user.id)
        try:
            self._mailer.send(email, SUBJECT, TEXT.format(email=email, link=made.link))
        except DatanikaError as error:
            # The answer has gone out; the next request makes another link.
            logger.warning("password reset: %s", error.detail)

    def redeem(self, token: str, new_password: str) -> None:
        """Sets a new password and ends every session of the person.

        A mailed link that proves the address for the first time ends their API keys and the
        invitations that they have sent, too.

        Raises:
            Throttled: Too many failures from this address, or no place for hashing.
            Invalid: The token cannot be used, or the password breaks a rule.
        """
        checked_password(new_password, "/new_password")
        counted = self._throttle.count(logins_from(self._settings, self._visitor.address))
        token_hash = hash_token(token)
        with transaction(self._factory) as session:
            user_id = _open_link(session, token_hash).user_id
        with self._throttle.giving_back_what_waits(counted):
            password_hash = hash_new_password(new_password, "/new_password")
        with transaction(self._factory) as session:
            # The user first, like every change of a password; then nobody else can use the link.
            user = UserRepository(session).find_locked(user_id, to_change=True)
            link = _open_link(session, token_hash)
            if user is None:
                raise _unusable()
            actor = self._visitor.as_actor(user.id, user.email)
            if link.is_mailed and user.email_verified_at is None:
                # Whoever had the account before the address was proven keeps nothing of it.
                end_credentials(session, user, actor)
            user.password_hash = password_hash
            close_links_of(session, user.id)
            end_sessions_of(session, user.id)
            log = IdentityLog(session, actor)
            log.record(user.id, "password_reset", "user", user.id)
        self._throttle.give_back(counted)


def make_link_for(session: Session, settings: Settings, email: str, actor: Actor) -> ResetLink:
    """Makes a link that a platform operator hands over.

    Args:
        session: The request's transaction.
        settings: With the platform's own URL.
        email: Whose password.
        actor: The operator.

    Raises:
        NotFound: No such user.
    """
    user = UserRepository(session).find_by_email(email.lower())
    if user is None:
        raise NotFound(f"There is no user '{email}'.")
    IdentityLog(session, actor).record(user.id, "create", "password_reset", user.id)
    return _make_link(session, settings, user, is_mailed=False)


def close_links_of(session: Session, user_id: int) -> None:
    """Makes every open link of a user useless; whoever changes a password does so."""
    PasswordResetRepository(session).close_all(user_id, utc_now())


def _make_link(session: Session, settings: Settings, user: User, *, is_mailed: bool) -> ResetLink:
    token = new_token(TOKEN_PREFIX)
    row = PasswordReset(
        user_id=user.id,
        token_hash=hash_token(token),
        is_mailed=is_mailed,
        expires_at=utc_now() + LIFETIME,
    )
    PasswordResetRepository(session).add(row)
    # In the fragment, so that no log of a server or a proxy on the way has it.
    link = f"{settings.public_url.rstrip('/')}{PAGE_PATH}#token={token}"
    return ResetLink(link, row.expires_at)


def _open_link(session: Session, token_hash: str) -> PasswordReset:
    link = PasswordResetRepository(session).find_open(token_hash, utc_now())
    if link is None:
        raise _unusable()
    return link


def _unusable() -> Invalid:
    return Invalid.field("/token", "is not valid, was used or has expired; ask for a new link")


async def get_password_resets(
    factory: SessionFactoryDep, settings: SettingsDep, mailer: MailerDep, visitor: VisitorDep
) -> PasswordResets:
    """Returns the links for the request's visitor."""
    return PasswordResets(factory, settings, mailer, visitor)


PasswordResetsDep = Annotated[PasswordResets, Depends(get_password_resets)]
