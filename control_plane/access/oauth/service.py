"""Signs people in by a provider: start, callback, and the one-time code that ends it.

As for sign-in by password (docs/decisions/0060) the transactions are opened here: attempts are
counted before anything is verified, and no connection is held while a provider is asked.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.oauth.accounts import AccountResolver, Resolved, SignUpGate
from control_plane.access.oauth.attempts import Attempt, start_attempt
from control_plane.access.oauth.errors import (
    AccessDenied,
    AttemptInvalid,
    CodeInvalid,
    LinkRefused,
    ProviderFailed,
)
from control_plane.access.oauth.models import OAuthCode
from control_plane.access.oauth.providers import Callback, ProviderAccount
from control_plane.access.oauth.registry import SignInProviders
from control_plane.access.oauth.repository import OAuthRepository
from control_plane.access.sessions.service import IssuedTokens, start_session
from control_plane.access.sessions.tokens import TokenSigner
from control_plane.access.sign_in.refusals import RefusedLogins
from control_plane.access.sign_in.visitor import Visitor
from control_plane.access.throttling.service import Counted, Throttle, logins_from, sign_ups_from
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserOrg, UserRepository
from control_plane.access.users.service import list_orgs
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError, Forbidden
from control_plane.core.tokens import hash_token, new_token
from control_plane.core.vault import Vault
from control_plane.settings import Settings, SignUpMode

CODE_PREFIX = "dto_"
CODE_LIFETIME = timedelta(seconds=60)
MAXIMUM_SUBJECT_CHARACTERS = 255
# What a person's own refusal is called (RFC 6749, section 4.1.2.1).
ACCESS_DENIED = "access_denied"


@dataclass(frozen=True)
class CallbackQuery:
    """The query of a provider's callback; all of it may be forged.

    Attributes:
        state: Belongs to an attempt.
        code: For the provider's token endpoint.
        error: Why there is no code.
        issuer: Who says so (RFC 9207).
    """

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None


@dataclass(frozen=True)
class RedeemedCode:
    """Somebody who has just signed in by a provider."""

    user: User
    orgs: list[UserOrg]
    tokens: IssuedTokens
    is_new: bool


class ProviderSignIn:
    """The door beside the password, for one visitor.

    Args:
        factory: Makes sessions.
        settings: Limits, and whether sign-up is open.
        providers: Those that are configured.
        visitor: Who knocks.
    """

    def __init__(
        self,
        factory: sessionmaker[Session],
        settings: Settings,
        providers: SignInProviders,
        visitor: Visitor,
    ) -> None:
        self._factory = factory
        self._settings = settings
        self._providers = providers
        self._visitor = visitor
        self._throttle = Throttle(factory)

    def start(self, provider_name: str, return_to: str) -> tuple[Attempt, str]:
        """Returns a new attempt, for the browser to keep, and where the browser goes.

        Raises:
            NotFound: The provider is not configured.
            ProviderFailed: It cannot be asked where to go.
        """
        provider = self._providers.get(provider_name)
        attempt = start_attempt(provider.name, return_to)
        return attempt, provider.authorization_url(attempt.challenge)

    def finish(self, attempt: Attempt, query: CallbackQuery, vault: Vault) -> str:
        """Returns the one-time code of a callback that belongs to `attempt`.

        Raises:
            Throttled: Too many failures from this address, or sign-ups.
            AttemptInvalid: The attempt was finished before.
            AccessDenied: The person did not agree.
            ProviderFailed: The provider failed, or answered for somebody else.
            EmailUnverified: No account, and the address is not verified.
            LinkRefused: There is an account, and this sign-in may not open it.
            Forbidden: No account, and sign-up is closed.
            Sealed: No account, and its org cannot have a data key now.
        """
        counted = self._count_login()
        with transaction(self._factory) as session:
            if OAuthRepository(session).is_state_used(attempt.state_hash):
                raise AttemptInvalid
        account = self._fetch_account(attempt, query)
        try:
            code = self._complete(attempt, account, vault)
        except DatanikaError as error:
            self._note_failure(_readable(account.email), error, attempt.provider)
            raise
        self._throttle.give_back(counted)
        return code

    def redeem(self, code: str, signer: TokenSigner) -> RedeemedCode:
        """Starts a session for a one-time code; of two that try at once, one succeeds.

        Raises:
            Throttled: Too many failures from this address.
            CodeInvalid: Unknown, used or too old, or its user was removed.
        """
        counted = self._count_login()
        with transaction(self._factory) as session:
            row = OAuthRepository(session).use_code(hash_token(code), utc_now())
            user = UserRepository(session).find(row.user_id) if row else None
            if row is None or user is None:
                raise CodeInvalid
            tokens = start_session(session, signer, user, self._visitor.origin)
            log = IdentityLog(session, self._visitor.as_actor(user.id, user.email))
            new = {"provider": row.provider}
            log.record(user.id, "login", "session", tokens.session_id, new=new)
            redeemed = RedeemedCode(user, list_orgs(session, user.id), tokens, row.is_new_user)
        self._throttle.give_back(counted)
        return redeemed

    def _count_login(self) -> list[Counted]:
        refused = RefusedLogins(self._factory, self._visitor)
        limit = logins_from(self._settings, self._visitor.address)
        return self._throttle.count(limit, on_first_refusal=refused.note_address)

    def _fetch_account(self, attempt: Attempt, query: CallbackQuery) -> ProviderAccount:
        provider = self._providers.get(attempt.provider)
        try:
            account = provider.fetch_account(_callback(query), attempt.challenge)
            is_usable = account.subject.isprintable()
            if not is_usable or not 0 < len(account.subject) <= MAXIMUM_SUBJECT_CHARACTERS:
                raise ProviderFailed(f"{provider.title} gave an id that cannot be used.")
        except DatanikaError as error:
            self._note_failure("", error, attempt.provider)
            raise
        return account

    def _note_failure(self, name: str, error: DatanikaError, provider: str) -> None:
        """Records a refused sign-in, in the logs of the orgs too where the address has an account."""
        with transaction(self._factory) as session:
            user = UserRepository(session).find_by_email(name) if name else None
            log = IdentityLog(session, self._visitor.as_actor(None, name))
            new = {"provider": provider, "because": error.code}
            log.record(user.id if user else None, "login_failed", "session", new=new)

    def _complete(self, attempt: Attempt, account: ProviderAccount, vault: Vault) -> str:
        gate = SignUpGate(self._check_sign_up, vault)
        # Two first sign-ins of one person at once: who comes second finds what the first has made.
        for _ in range(2):
            try:
                with transaction(self._factory) as session:
                    resolved = AccountResolver(session, self._visitor, gate).resolve(account)
                    return _add_code(session, attempt, resolved)
            except IntegrityError:
                continue
        raise LinkRefused("The account changed while you signed in; try again.")

    def _check_sign_up(self) -> None:
        if self._settings.sign_up is SignUpMode.CLOSED:
            raise Forbidden(
                "There is no account with this e-mail address, and sign-up is closed here. If you"
                " were invited, open the link of the invitation first."
            )
        self._throttle.count(sign_ups_from(self._settings, self._visitor.address))


def _callback(query: CallbackQuery) -> Callback:
    if query.error == ACCESS_DENIED:
        raise AccessDenied("You did not agree to sign in by this provider.")
    if query.error is not None or not query.code:
        raise ProviderFailed("The provider ended the sign-in with an error; try again.")
    return Callback(query.code, query.issuer)


def _readable(email: str | None) -> str:
    """Returns an address, verified or not, as the audit log can keep it."""
    return "".join(c for c in email or "" if c.isprintable()).lower()


def _add_code(session: Session, attempt: Attempt, resolved: Resolved) -> str:
    code = new_token(CODE_PREFIX)
    row = OAuthCode(
        user_id=resolved.user.id,
        provider=attempt.provider,
        code_hash=hash_token(code),
        state_hash=attempt.state_hash,
        is_new_user=resolved.is_new,
        expires_at=utc_now() + CODE_LIFETIME,
    )
    try:
        with session.begin_nested():
            OAuthRepository(session).add_code(row)
    except IntegrityError:
        raise AttemptInvalid from None
    return code
