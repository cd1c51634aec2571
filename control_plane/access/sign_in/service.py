"""Signs people up, in and out: throttle, captcha, password, session and audit entries in one place.

REST and the login page both come here, so neither is a way around the other. Other than elsewhere
this service opens its transactions itself (docs/decisions/0060): an attempt is counted and
committed before the password is verified, a failure is recorded although the request is refused,
and no connection to the database is held while bcrypt works.
"""

import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.caller import SignerDep
from control_plane.access.captcha.errors import CaptchaFailed, CaptchaUnavailable
from control_plane.access.captcha.service import Captcha, CaptchaAction, CaptchaDep
from control_plane.access.sessions.service import IssuedTokens, renew_session, start_session
from control_plane.access.sessions.tokens import TokenSigner
from control_plane.access.sign_in.refusals import RefusedLogins
from control_plane.access.sign_in.visitor import Visitor, VisitorDep
from control_plane.access.throttling.service import (
    Throttle,
    logins_from,
    logins_of_account,
    sign_ups_from,
)
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.models import User
from control_plane.access.users.passwords import verify_password
from control_plane.access.users.repository import UserOrg
from control_plane.access.users.service import (
    WRONG_CREDENTIALS,
    Credentials,
    NewAccount,
    find_credentials,
    get_unchanged,
    hash_new_password,
    list_orgs,
    sign_up,
)
from control_plane.audit.service import AuditLog
from control_plane.core.database import transaction
from control_plane.core.dependencies import SessionFactoryDep, SettingsDep
from control_plane.core.errors import Forbidden, Unauthorized
from control_plane.core.vault import Vault
from control_plane.settings import Settings, SignUpMode

# A refusal is held back for this share of the time that the password took, so that what is
# recorded for an account that exists cannot be measured.
REFUSAL_DELAY = 0.25


@dataclass(frozen=True)
class SignedInUser:
    """Somebody who has just signed in."""

    user: User
    orgs: list[UserOrg]
    tokens: IssuedTokens


@dataclass(frozen=True)
class SignedUpUser:
    """Somebody who has just signed up."""

    account: NewAccount
    tokens: IssuedTokens


@dataclass(frozen=True)
class SignUpWish:
    """What somebody wants to sign up with."""

    email: str
    password: str = field(repr=False)
    org_name: str


class SignIn:
    """The door, for one visitor.

    Args:
        factory: Makes sessions.
        settings: Limits, and whether sign-up is open.
        signer: Makes tokens.
        captcha: Tells people from programs, where it is on.
        visitor: Who knocks.
    """

    def __init__(
        self,
        factory: sessionmaker[Session],
        settings: Settings,
        signer: TokenSigner,
        captcha: Captcha,
        visitor: Visitor,
    ) -> None:
        self._factory = factory
        self._settings = settings
        self._signer = signer
        self._captcha = captcha
        self._visitor = visitor
        self._throttle = Throttle(factory)

    def log_in(self, email: str, password: str, captcha_token: str | None) -> SignedInUser:
        """Starts a session of the account whose password this is.

        Raises:
            Throttled: Too many failures of this account or from this address, or too many people at
                the door.
            CaptchaFailed: Where it is on.
            CaptchaUnavailable: Where it is on.
            Unauthorized: No such account or a wrong password: same text, same time.
        """
        # First the address: one that is over its limit uses up nobody's account. Then the captcha:
        # whoever does not pass it neither.
        refused = RefusedLogins(self._factory, self._visitor, email)
        from_address = logins_from(self._settings, self._visitor.address)
        counted = self._throttle.count(from_address, on_first_refusal=refused.note_address)
        try:
            self._captcha.check(captcha_token, CaptchaAction.LOGIN, self._visitor.address)
        except (CaptchaFailed, CaptchaUnavailable) as error:
            refused.note_captcha(error)
            raise
        of_account = logins_of_account(self._settings, email)
        counted += self._throttle.count(of_account, on_first_refusal=refused.note_account)
        with self._throttle.giving_back_what_waits(counted):
            known = self._verified(email, password)
        with transaction(self._factory) as session:
            user = get_unchanged(session, known)
            tokens = start_session(session, self._signer, user, self._visitor.origin)
            actor = self._visitor.as_actor(user.id, user.email)
            IdentityLog(session, actor).record(user.id, "login", "session", tokens.session_id)
            signed_in = SignedInUser(user, list_orgs(session, user.id), tokens)
        self._throttle.give_back(counted)
        return signed_in

    def sign_up(self, vault: Vault, wish: SignUpWish, captcha_token: str | None) -> SignedUpUser:
        """Makes an account and its org, and starts a session.

        Raises:
            Forbidden: Sign-up is closed, for everybody alike.
            Throttled: Too many sign-ups from this address.
            CaptchaFailed: Where it is on.
            CaptchaUnavailable: Where it is on.
            Invalid: The password breaks a rule.
            Conflict: The e-mail address has an account.
        """
        if self._settings.sign_up is SignUpMode.CLOSED:
            raise Forbidden("Sign-up is closed here; ask for an invitation.")
        self._throttle.count(sign_ups_from(self._settings, self._visitor.address))
        self._captcha.check(captcha_token, CaptchaAction.SIGN_UP, self._visitor.address)
        password_hash = hash_new_password(wish.password, "/password")
        with transaction(self._factory) as session:
            account = sign_up(
                session,
                vault,
                email=wish.email,
                password_hash=password_hash,
                org_name=wish.org_name,
            )
            user, org = account.user, account.org
            actor = self._visitor.as_actor(user.id, user.email)
            made = {"slug": org.slug, "name": org.name}
            AuditLog(session, org.id, actor).record("create", "organization", org.id, new=made)
            tokens = start_session(session, self._signer, user, self._visitor.origin)
            IdentityLog(session, actor).record(user.id, "sign_up", "user", user.id)
        return SignedUpUser(account, tokens)

    def renew(self, refresh_token: str) -> IssuedTokens:
        """Exchanges a refresh token.

        Raises:
            Unauthorized: Unknown, used or of an ended session.
        """
        with transaction(self._factory) as session:
            origin = self._visitor.origin
            renewal = renew_session(session, self._signer, refresh_token, origin)
            if renewal.reused is not None:
                user, row = renewal.reused.user, renewal.reused.row
                log = IdentityLog(session, self._visitor.as_actor(None, user.email))
                log.record(user.id, "refresh_token_reuse", "session", row.id)
        if renewal.tokens is None:
            raise Unauthorized("The refresh token is not valid; sign in again.")
        return renewal.tokens

    def _verified(self, email: str, password: str) -> Credentials:
        with transaction(self._factory) as session:
            known = find_credentials(session, email)
        started_at = time.monotonic()
        fits = verify_password(password, known.password_hash if known else None)
        verified_at = time.monotonic()
        if fits and known is not None:
            return known
        with transaction(self._factory) as session:
            log = IdentityLog(session, self._visitor.as_actor(None, email))
            log.record(known.user_id if known else None, "login_failed", "session")
        _hold_until(verified_at + REFUSAL_DELAY * (verified_at - started_at))
        raise Unauthorized(WRONG_CREDENTIALS)


def _hold_until(monotonic_at: float) -> None:
    time.sleep(max(0.0, monotonic_at - time.monotonic()))


async def get_sign_in(
    factory: SessionFactoryDep,
    settings: SettingsDep,
    signer: SignerDep,
    captcha: CaptchaDep,
    visitor: VisitorDep,
) -> SignIn:
    """Returns the door for the request's visitor."""
    return SignIn(factory, settings, signer, captcha, visitor)


SignInDep = Annotated[SignIn, Depends(get_sign_in)]
