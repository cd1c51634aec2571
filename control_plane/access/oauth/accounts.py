"""Finds, links or makes the user whom a provider's account stands for.

The provider's own id of the account comes first: whoever changes the e-mail address there keeps the
user here. Only an account that is not known yet is looked up by its address, and only where the
provider vouches for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from control_plane.access.first_proof.service import end_credentials
from control_plane.access.oauth.errors import EmailUnverified, LinkRefused
from control_plane.access.oauth.models import OAuthIdentity
from control_plane.access.oauth.providers import ProviderAccount
from control_plane.access.oauth.repository import OAuthRepository
from control_plane.access.password_resets.service import close_links_of
from control_plane.access.permissions import Role
from control_plane.access.sign_in.visitor import Visitor
from control_plane.access.users.email_address import Email
from control_plane.access.users.identity_log import IdentityLog
from control_plane.access.users.models import User
from control_plane.access.users.repository import UserRepository
from control_plane.audit.service import Actor, AuditLog
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org
from control_plane.core.vault import Vault
from control_plane.tenancy.service import create_organization

ORG_NAME_CHARACTERS = 200
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)


@dataclass(frozen=True)
class Resolved:
    """The user of a provider's account, and whether it was made just now."""

    user: User
    is_new: bool


@dataclass(frozen=True)
class SignUpGate:
    """What a new account passes.

    Attributes:
        check: Raises where nobody may sign up, or too many have from this client.
        vault: Makes the data key of the new org.
    """

    check: Callable[[], None]
    vault: Vault


class AccountResolver:
    """Works in one transaction, whose session is in no org.

    Args:
        session: The transaction's.
        visitor: Who signs in.
        gate: Says whether accounts may be made.
    """

    def __init__(self, session: Session, visitor: Visitor, gate: SignUpGate) -> None:
        self._session = session
        self._visitor = visitor
        self._gate = gate
        self._identities = OAuthRepository(session)
        self._users = UserRepository(session)

    def resolve(self, account: ProviderAccount) -> Resolved:
        """Returns the user.

        Raises:
            EmailUnverified: The account is not known, and its address is not verified.
            LinkRefused: The address has an account that this sign-in may not open.
            Sealed: A new org cannot have a data key now.
        """
        identity = self._identities.find_identity(account.provider, account.subject)
        if identity is not None:
            user = self._users.find(identity.user_id)
            if user is None:
                raise LinkRefused("The account that belongs to this sign-in was removed.")
            return Resolved(user, is_new=False)
        email = _verified_email(account)
        user = self._identities.lock_user_by_email(email)
        if user is None:
            return Resolved(self._create(account, email), is_new=True)
        self._link(account, user)
        return Resolved(user, is_new=False)

    def _link(self, account: ProviderAccount, user: User) -> None:
        if user.deleted_at is not None:
            raise LinkRefused("The account with this e-mail address was removed.")
        if self._identities.has_identity(user.id, account.provider):
            # The address was given to somebody else there, or the person has two accounts there.
            raise LinkRefused(
                "The account with this e-mail address is linked to another account of the same"
                " provider; sign in by that one or by password."
            )
        actor = self._visitor.as_actor(user.id, user.email)
        is_first_proof = user.email_verified_at is None
        if is_first_proof:
            self._take_over(user, actor)
        self._add_identity(account, user)
        new = {"provider": account.provider, "ended_earlier_credentials": is_first_proof}
        IdentityLog(self._session, actor).record(user.id, "link", "user", user.id, new=new)

    def _take_over(self, user: User, actor: Actor) -> None:
        if user.is_platform_operator:
            # Its password may be the deployment's way in, which an address alone must not end.
            raise LinkRefused(
                "The account with this e-mail address is a platform operator's and its address was"
                " never verified; sign in by password."
            )
        close_links_of(self._session, user.id)
        end_credentials(self._session, user, actor)

    def _create(self, account: ProviderAccount, email: str) -> User:
        self._gate.check()
        user = self._users.add(User(email=email, email_verified_at=utc_now()))
        self._add_identity(account, user)
        org = create_organization(self._session, self._gate.vault, _org_name(account, email))
        self._users.add_membership(org.id, user.id, Role.OWNER)
        actor = self._visitor.as_actor(user.id, user.email)
        audit = AuditLog(self._session, org.id, actor)
        audit.record("create", "organization", org.id, new={"slug": org.slug, "name": org.name})
        self._session.flush()
        enter_org(self._session, None)
        new = {"email": email, "provider": account.provider}
        IdentityLog(self._session, actor).record(user.id, "sign_up", "user", user.id, new=new)
        return user

    def _add_identity(self, account: ProviderAccount, user: User) -> None:
        self._identities.add_identity(
            OAuthIdentity(user_id=user.id, provider=account.provider, subject=account.subject)
        )


def _verified_email(account: ProviderAccount) -> str:
    if not account.is_email_verified or account.email is None:
        raise EmailUnverified(
            "The provider has not verified your primary e-mail address; verify it there, then sign"
            " in again."
        )
    try:
        return _EMAIL.validate_python(account.email)
    except ValidationError:
        raise EmailUnverified("The provider gave no e-mail address that can be used.") from None


def _org_name(account: ProviderAccount, email: str) -> str:
    """Returns what a new user's org is called: as the person is, else as the mailbox is."""
    printable = "".join(c for c in account.name or "" if c.isprintable()).strip()
    return printable[:ORG_NAME_CHARACTERS] or email.partition("@")[0]
